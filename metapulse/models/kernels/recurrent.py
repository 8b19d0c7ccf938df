"""A gated recurrent unit with derivatives through time.

Everything is feature-major, (clients, features, samples): a gate is then one block of memory per client, and the
products of all clients are one batched call without a transposition. What a step reads stands in one matrix,
s = [h; x; 1] (hidden state, inputs, one), so that recurrent weights, input weights and biases are one matrix too:

    a = W s          rows r, z: W_h h + W_x x + b_x + b_h;   row n: W_h h + b_h
    i = U [x; 1]     W_x x + b_x of the new gate, which the reset gate must not touch
    r, z = σ(a_r), σ(a_z);   m = tanh(i + r ⊙ a_n);   h ← (1 − z) ⊙ m + z ⊙ h
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metapulse.models.kernels.base import Kernel, Out, Saved
from metapulse.trees import Stacked

sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
tanh_backward = torch.ops.aten.tanh_backward.grad_input


@dataclass(frozen=True)
class Weights:
    """A tree's weights as the products want them; linear in the tree, so directions are packed alike.

    Args:
        gates: W, (clients, 3 · hidden, hidden + channels + 1).
        new: U, (clients, hidden, channels + 1).
    """

    gates: Tensor
    new: Tensor


@dataclass(frozen=True)
class HiddenTrajectory:
    """What a series went through; time is the leading axis.

    Args:
        w: the weights it went through.
        state: s before every step and after the last, (time + 1, clients, hidden + channels + 1, samples).
        gates: r, z, a_n, (time, clients, 3 · hidden, samples).
        new: m, (time, clients, hidden, samples).
    """

    w: Weights
    state: Tensor
    gates: Tensor
    new: Tensor

    @property
    def hidden(self) -> int:
        """Width of the hidden state."""
        return self.new.shape[2]

    def parts(self) -> tuple[tuple[Tensor, ...], ...]:
        """Per step: s, h, [x; 1], [r; z], r, z, a_n, m."""
        h = self.hidden
        r, z, a = self.gates.chunk(3, 2)
        return tuple(
            part.unbind()
            for part in (
                self.state[:-1],
                self.state[:-1, :, :h],
                self.state[:-1, :, h:],
                self.gates[:, :, : 2 * h],
                r,
                z,
                a,
                self.new,
            )
        )


@dataclass(frozen=True)
class Movement:
    """How a path moves.

    Args:
        v: the direction of the weights.
        state: ṡ; without rows for x and 1 where the inputs stand still.
        gates: ṙ, ż, ȧ_n.
        new: ṁ.
    """

    v: Weights
    state: Tensor
    gates: Tensor
    new: Tensor


@dataclass(frozen=True)
class Gated(Kernel):
    """Last hidden state (clients, n, hidden) of windows (clients, n, channels, time); ``layers.gru`` is its reference.

    tanh u is had as 2 σ(2u) − 1: the same to within a rounding of the state, and several times as fast.

    Args:
        name: of the layer; its parameters are ``name.weight_ih``, ``weight_hh``, ``bias_ih`` and ``bias_hh``.
    """

    name: str

    def _pack(self, w: Stacked) -> Weights:
        weight_ih, weight_hh = w[f"{self.name}.weight_ih"], w[f"{self.name}.weight_hh"]
        bias_ih, bias_hh = (w[f"{self.name}.bias_{side}"].unsqueeze(2) for side in ("ih", "hh"))
        inputs = torch.cat([weight_ih, bias_ih], 2)
        h = weight_hh.shape[2]
        gates = torch.cat([weight_hh, inputs], 2)
        gates[:, 2 * h :, h:] = 0.0
        gates[:, :, -1:] += bias_hh
        return Weights(gates, inputs[:, 2 * h :].contiguous())

    def _unpack(self, gates: Tensor, new: Tensor, out: Out) -> None:
        """Write derivatives in W and U, both transposed, as derivatives of the parameters."""
        h = new.shape[2]
        gates, new = gates.transpose(1, 2), new.transpose(1, 2)
        inputs = torch.cat([gates[:, : 2 * h, h:], new], 1)
        out[f"{self.name}.weight_hh"].copy_(gates[:, :, :h])
        out[f"{self.name}.bias_hh"].copy_(gates[:, :, -1])
        out[f"{self.name}.weight_ih"].copy_(inputs[:, :, :-1])
        out[f"{self.name}.bias_ih"].copy_(inputs[:, :, -1])

    def forward(self, w: Stacked, x: Tensor) -> tuple[Tensor, Saved]:
        """Left to right, everything written where the way back will read it."""
        weights = self._pack(w)
        clients, n, channels, time = x.shape
        h = weights.new.shape[1]
        state = x.new_empty(time + 1, clients, h + channels + 1, n)
        state[0, :, :h] = 0.0
        state[:-1, :, h:-1] = x.permute(3, 0, 2, 1)
        state[:, :, -1] = 1.0
        path = HiddenTrajectory(weights, state, x.new_empty(time, clients, 3 * h, n), x.new_empty(time, clients, h, n))
        twice, minus_one = 2.0 * weights.new, x.new_full((), -1.0)
        after = state[1:, :, :h].unbind()
        for t, (s, before, inputs, rz, r, z, a, m) in enumerate(zip(*path.parts(), strict=True)):
            torch.bmm(weights.gates, s, out=path.gates[t])
            torch.bmm(twice, inputs, out=m)
            rz.sigmoid_()
            m.addcmul_(r, a, value=2.0).sigmoid_()
            torch.add(minus_one, m, alpha=2.0, out=m)
            torch.lerp(m, before, z, out=after[t])
        return state[-1, :, :h].transpose(1, 2), path

    def backward(self, w: Stacked, saved: Saved, g: Tensor, out: Out, inputs: bool) -> Tensor | None:
        """Right to left; h̄ and the gates' derivatives live for one step only, in the cache."""
        path: HiddenTrajectory = saved
        h, (time, clients, _, n) = path.hidden, path.gates.shape
        recurrent = path.w.gates[:, :, :h].transpose(1, 2).contiguous()
        dh = g.transpose(1, 2).clone(memory_format=torch.contiguous_format)
        back, side = torch.empty_like(dh), torch.empty_like(dh)
        pull, di = dh.new_empty(clients, 3 * h, n), torch.empty_like(dh)
        both, (dr, dz, da) = pull[:, : 2 * h], pull.chunk(3, 1)
        to_gates = torch.zeros_like(path.w.gates.transpose(1, 2), memory_format=torch.contiguous_format)
        to_new = torch.zeros_like(path.w.new.transpose(1, 2), memory_format=torch.contiguous_format)
        dx = dh.new_empty(time, clients, path.state.shape[2] - h - 1, n) if inputs else None
        for t, (s, before, xs, rz, r, z, a, m) in reversed(list(enumerate(zip(*path.parts(), strict=True)))):
            torch.mul(dh, z, out=back)
            torch.sub(dh, back, out=side)
            tanh_backward(side, m, grad_input=di)
            torch.sub(before, m, out=dz).mul_(dh)
            torch.mul(di, a, out=dr)
            sigmoid_backward(both, rz, grad_input=both)
            torch.mul(di, r, out=da)
            to_gates.baddbmm_(s, pull.transpose(1, 2))
            to_new.baddbmm_(xs, di.transpose(1, 2))
            dh, back = back.baddbmm_(recurrent, pull), dh
            if dx is not None:
                self._to_inputs(path.w, both, di, dx[t])
        self._unpack(to_gates, to_new, out)
        return None if dx is None else dx.permute(1, 3, 2, 0)

    @staticmethod
    def _to_inputs(w: Weights, both: Tensor, di: Tensor, out: Tensor, beta: float = 0.0) -> None:
        """x̄ of one step: through r and z, and through the new gate; added to ``beta`` times what is there."""
        h = w.new.shape[1]
        through = w.gates[:, : 2 * h, h:-1].transpose(1, 2)
        torch.baddbmm(out, through, both, beta=beta, out=out).baddbmm_(w.new[:, :, :-1].transpose(1, 2), di)

    def tangent(self, w: Stacked, v: Stacked, saved: Saved, dx: Tensor | None) -> tuple[Tensor, Saved]:
        """ȧ = V s + W ṡ at every step, and on through the nonlinearities."""
        path: HiddenTrajectory = saved
        h, (time, clients, _, n) = path.hidden, path.gates.shape
        width = h if dx is None else path.state.shape[2] - 1
        state = path.state.new_empty(time + 1, clients, width, n)
        state[0, :, :h] = 0.0
        if dx is not None:
            state[:-1, :, h:] = dx.permute(3, 0, 2, 1)
        move = Movement(self._pack(v), state, torch.empty_like(path.gates), torch.empty_like(path.new))
        side = torch.empty_like(path.new[0])
        for t, (s, before, xs, rz, r, z, a, m) in enumerate(zip(*path.parts(), strict=True)):
            ds, da, dm = state[t], move.gates[t], move.new[t]
            both, (dr, dz, dn) = da[:, : 2 * h], da.chunk(3, 1)
            torch.bmm(move.v.gates, s, out=da).baddbmm_(path.w.gates[:, :, :width], ds)
            torch.bmm(move.v.new, xs, out=dm)
            if dx is not None:
                dm.baddbmm_(path.w.new[:, :, :-1], ds[:, h:])
            sigmoid_backward(both, rz, grad_input=both)
            dm.addcmul_(dr, a).addcmul_(r, dn)
            tanh_backward(dm, m, grad_input=dm)
            torch.sub(before, m, out=side)
            torch.lerp(dm, ds[:, :h], z, out=state[t + 1, :, :h]).addcmul_(side, dz)
        return state[-1, :, :h].transpose(1, 2), move

    def backward_tangent(
        self, w: Stacked, v: Stacked, saved: Saved, moved: Saved, g: Tensor, dg: Tensor, out: Out, inputs: bool
    ) -> Tensor | None:
        """The way back once more, and beside it how each of its quantities moves (here with a 2 to its name)."""
        path: HiddenTrajectory = saved
        move: Movement = moved
        h, (time, clients, _, n) = path.hidden, path.gates.shape
        width = move.state.shape[2]
        recurrent, turning = (m.gates[:, :, :h].transpose(1, 2).contiguous() for m in (path.w, move.v))
        dh, dh2 = (m.transpose(1, 2).clone(memory_format=torch.contiguous_format) for m in (g, dg))
        back, back2, side, side2, di, di2 = (torch.empty_like(dh) for _ in range(6))
        pull, pull2, slope = (dh.new_empty(clients, 3 * h, n) for _ in range(3))
        (both, both2), slope = (p[:, : 2 * h] for p in (pull, pull2)), slope[:, : 2 * h]
        (dr, dz, da), (dr2, dz2, da2) = pull.chunk(3, 1), pull2.chunk(3, 1)
        to_gates = dh.new_zeros(clients, path.state.shape[2], 3 * h)
        to_new = dh.new_zeros(clients, path.state.shape[2] - h, h)
        turned = dh.new_zeros(clients, width, 3 * h)
        turned_new = dh.new_zeros(clients, width - h, h)
        dx = dh.new_empty(time, clients, path.state.shape[2] - h - 1, n) if inputs else None
        for t, (s, before, xs, rz, r, z, a, m) in reversed(list(enumerate(zip(*path.parts(), strict=True)))):
            ds, dm = move.state[t], move.new[t]
            drz, (r2, z2, a2) = move.gates[t, :, : 2 * h], move.gates[t].chunk(3, 1)
            # h̄ z and its movement; q = h̄ (1 − z) and its movement
            torch.mul(dh, z, out=back)
            torch.mul(dh, z2, out=side).addcmul_(dh2, z)
            back2, side = side, back2
            torch.sub(dh, back, out=side)
            torch.sub(dh2, back2, out=side2)
            # ī = q (1 − m²) moves by q̇ (1 − m²) − 2 m ṁ q
            tanh_backward(side, m, grad_input=di)
            tanh_backward(side2, m, grad_input=di2)
            di2.addcmul_(side.mul_(m), dm, value=-2.0)
            # into the gates: ī a_n and h̄ (h − m), before the sigmoids' slopes
            torch.mul(di, a, out=dr)
            torch.mul(di2, a, out=dr2).addcmul_(di, a2)
            torch.sub(before, m, out=side)
            torch.mul(side, dh, out=dz)
            torch.mul(side, dh2, out=dz2)
            torch.sub(ds[:, :h], dm, out=side)
            dz2.addcmul_(side, dh)
            # through the sigmoids: σ̇ (1 − 2σ) is how the slope σ (1 − σ) moves
            sigmoid_backward(both2, rz, grad_input=both2)
            torch.mul(rz, drz, out=slope)
            torch.sub(drz, slope, alpha=2.0, out=slope)
            both2.addcmul_(both, slope)
            sigmoid_backward(both, rz, grad_input=both)
            torch.mul(di, r, out=da)
            torch.mul(di2, r, out=da2).addcmul_(di, r2)
            to_gates.baddbmm_(s, pull2.transpose(1, 2))
            turned.baddbmm_(ds, pull.transpose(1, 2))
            to_new.baddbmm_(xs, di2.transpose(1, 2))
            if width > h:
                turned_new.baddbmm_(ds[:, h:], di.transpose(1, 2))
            dh, back = back.baddbmm_(recurrent, pull), dh
            dh2, back2 = back2.baddbmm_(recurrent, pull2).baddbmm_(turning, pull), dh2
            if dx is not None:
                self._to_inputs(path.w, both2, di2, dx[t])
                self._to_inputs(move.v, both, di, dx[t], beta=1.0)
        to_gates[:, :width] += turned
        to_new[:, : width - h] += turned_new
        self._unpack(to_gates, to_new, out)
        return None if dx is None else dx.permute(1, 3, 2, 0)
