"""Small numeric tools: state goes in and comes out."""
