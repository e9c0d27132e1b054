"""The forecast model: an RSSM of the training run, learned online from this run alone.

Every full step is one tick: it goes into the replay and advances the acting latent by the posterior. Once a cycle the
model takes a few optimizer steps on replayed windows, each observed for a while and then imagined to the full horizon
under the actions that were really taken, and the acting path gets the new weights. Forecasts are relative to the
constant forecaster's; an untrained model repeats it.

All randomness (initial weights, windows, samples, bootstrap masks) comes from generators made from one seed, and all
state can be saved, so a run continues bit for bit.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpt.config import LearnerConfig
from hpt.dynamics import losses
from hpt.dynamics.ensemble import EnsembleHeads
from hpt.dynamics.facts import FloatArray
from hpt.dynamics.forecast import Correction, Moment, Vector
from hpt.dynamics.loss_trend import LossTrend
from hpt.dynamics.replay import Replay, Windows, anchors
from hpt.dynamics.rollout import FastRollout, Judged
from hpt.dynamics.rssm import RSSM, SIZES
from hpt.dynamics.trust import Trust
from hpt.errors import ConfigError

ANCHOR_RATE=33.0
ANCHOR_BETAS=(0.5,0.99)
NFRESH=4
DECAY=0.01
BETAS=(0.9,0.99)
EPS=1e-8
HEAD_RATE=1.0
_PRIOR_VARIANCE=1.0
RECON=1.0
KL=1.0
KEEP=0.5

class DynamicsLearner:
    def __init__(self, config: LearnerConfig, *, num_arms: int, max_horizon: int, seed: int) -> None:
        self.config, self.max_horizon, self.num_arms = config, max_horizon, num_arms
        sizes = SIZES[config.dims]
        self.sizes = sizes
        self._noise = torch.Generator().manual_seed(seed)
        self._draws = np.random.default_rng(seed)
        self.model = RSSM(sizes, self._noise)
        self.heads = EnsembleHeads(sizes, num_arms, self._noise)
        self.replay = Replay(config.replay_steps, (sizes.features, sizes.deter, sizes.stoch, sizes.ensemble), max_horizon)
        self.fast = FastRollout(sizes, num_arms, max_horizon)
        self.fast.load(self.model, self.heads)
        body=[*self.model.parameters(), *self.heads.trunk.parameters()]
        self.optimizer = torch.optim.AdamW([dict(params=body,lr=config.learning_rate),dict(params=list(self.heads.heads.parameters()),lr=config.learning_rate*HEAD_RATE),dict(params=list(self.heads.anchors.parameters()),lr=config.learning_rate*ANCHOR_RATE,weight_decay=0.,betas=ANCHOR_BETAS)],betas=BETAS,eps=EPS,weight_decay=DECAY,foreach=True)
        self.curve=None; self.trust=Trust(); self.learned=0
        self.num_ticks=0
    def tick(self, features, action, loss, level):
        self.replay.append(features,action,loss,level)
        self.fast.tick(features,action)
        self.replay.put_latent(*self.fast.latent())
        self.num_ticks+=1
    def forecast(self, actions):
        H=len(actions)
        if self.curve is None: return Correction(0.,0.,0.)
        a=anchors(self.replay.gaps(), self.curve[0][:H], self.curve[1][:H])
        j=self.fast.imagine(actions,a)
        s=j.shift[-1]; an=a[-1]@self.fast._anchors; s=an+self.trust.shift*(s-an)
        self.last=(s.copy(), a[-1]@self.fast._anchors)
        return Correction(float(s.mean()),self.trust.log_scale*float(j.log_scale[-1].mean()),float(s.std()))
    def learn(self, trend):
        means,scales=trend.curve(self.max_horizon)
        self.curve=(means,scales)
        self.replay.close_block(means,scales,(self._draws.random(self.sizes.ensemble)<KEEP)/min(1,KEEP))
        if not self.config.enabled: return
        for i in range(self.config.updates_per_cycle):
            self._update(i)
        self.learned=self.num_ticks
        self.fast.load(self.model,self.heads)
    def _update(self,i):
        w=self.replay.sample(self.config.batch_windows,self.config.window_steps,self.max_horizon,self._draws,NFRESH if i==0 else 0,self.learned)
        if w is None: return
        loss=self._loss(w,i==0)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*self.model.parameters(),*self.heads.trunk.parameters(),*self.heads.heads.parameters()],self.config.max_grad_norm)
        self.optimizer.step()
        with torch.no_grad(): self.heads.anchors.weight.clamp_(0.,1.)
    def _loss(self,w,first):
        t={k:torch.from_numpy(v) for k,v in ((k,getattr(w,k)) for k in Windows.__slots__)}
        O=len(t['features'])
        u=torch.rand(O,t['deter'].shape[0],self.sizes.num_categoricals,generator=self._noise)
        f=self.model.observe((t['deter'],t['stoch']),t['features'],t['actions'][:O],u)
        d,s=self.model.imagine((f.deter[-1],f.stoch[-1]),t['actions'][O:])
        out=self.heads(d,s)
        anch=self.heads.anchors(t['anchors']); shift=out.shift+anch
        if first:
            n=NFRESH
            self.trust.judge((t['errors']-anch.mean(-1))[:,:n].detach().numpy(),out.shift.mean(-1)[:,:n].detach().numpy(),out.log_scale.mean(-1)[:,:n].detach().numpy(),w.fresh[:,:n])
        wt=t['valid'][...,None]*t['masks'][None]
        nll=losses.forecast_nll(out.shift+anch.detach(),out.log_scale,t['errors'],wt)+losses.forecast_nll(anch,torch.zeros_like(anch),t['errors'],wt)
        kl=losses.kl_balance(f.posterior_logits,f.prior_logits,self.sizes.num_classes,self.config.free_nats)
        rec=losses.reconstruction(self.model.decode(f.deter,f.stoch),t['features'])
        self.parts=(float(nll.detach()),float(kl.detach()),float(rec.detach()))
        return nll+KL*kl+RECON*rec
