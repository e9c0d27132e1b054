"""Jumps in the trainers of other libraries; each module needs the library that it is named after."""
