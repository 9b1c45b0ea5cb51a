"""One step of a non-stiff solver as machine code: the Runge-Kutta method of order 8 of Dormand and Prince.

E. Hairer, S. P. Norsett, G. Wanner, Solving Ordinary Differential Equations I, 2nd ed., Springer 1993, section
II.5: DOP853, with error estimates of order 5 and 3, a dense output of order 7 (II.6) that takes three stages
more, and an estimate of the step size times the largest eigenvalue from the last two stages (Hairer and Wanner,
II, IV.2).
"""

from __future__ import annotations

from collections.abc import Sequence

from mechanistic.codegen.native import Module
from mechanistic.codegen.vectors import Layout, Routine, constant
from mechanistic.solvers.program import Method, emit_accept, emit_error, emit_measures, place_method

# Stage s begins at y + h sum_q A[s][q] K_q. Stage 12 begins at the new state; the last three are for dense output.
A: tuple[tuple[float, ...], ...] = (
    (),
    (0.05260015195876773,),
    (0.0197250569845379, 0.0591751709536137),
    (0.02958758547680685, 0.0, 0.08876275643042054),
    (0.2413651341592667, 0.0, -0.8845494793282861, 0.924834003261792),
    (
        0.037037037037037035, 0.0, 0.0, 0.17082860872947386, 0.12546768756682242
    ),
    (
        0.037109375, 0.0, 0.0, 0.17025221101954405, 0.06021653898045596, -0.017578125
    ),
    (
        0.03709200011850479, 0.0, 0.0, 0.17038392571223998, 0.10726203044637328, -0.015319437748624402,
        0.008273789163814023,
    ),
    (
        0.6241109587160757, 0.0, 0.0, -3.3608926294469414, -0.868219346841726, 27.59209969944671,
        20.154067550477894, -43.48988418106996,
    ),
    (
        0.47766253643826434, 0.0, 0.0, -2.4881146199716677, -0.590290826836843, 21.230051448181193,
        15.279233632882423, -33.28821096898486, -0.020331201708508627,
    ),
    (
        -0.9371424300859873, 0.0, 0.0, 5.186372428844064, 1.0914373489967295, -8.149787010746927,
        -18.52006565999696, 22.739487099350505, 2.4936055526796523, -3.0467644718982196,
    ),
    (
        2.273310147516538, 0.0, 0.0, -10.53449546673725, -2.0008720582248625, -17.9589318631188,
        27.94888452941996, -2.8589982771350235, -8.87285693353063, 12.360567175794303, 0.6433927460157636,
    ),
    (
        0.054293734116568765, 0.0, 0.0, 0.0, 0.0, 4.450312892752409, 1.8915178993145003,
        -5.801203960010585, 0.3111643669578199, -0.1521609496625161, 0.20136540080403034,
        0.04471061572777259,
    ),
    (
        0.056167502283047954, 0.0, 0.0, 0.0, 0.0, 0.0, 0.25350021021662483, -0.2462390374708025,
        -0.12419142326381637, 0.15329179827876568, 0.00820105229563469, 0.007567897660545699, -0.008298,
    ),
    (
        0.03183464816350214, 0.0, 0.0, 0.0, 0.0, 0.028300909672366776, 0.053541988307438566,
        -0.05492374857139099, 0.0, 0.0, -0.00010834732869724932, 0.0003825710908356584,
        -0.00034046500868740456, 0.1413124436746325,
    ),
    (
        -0.42889630158379194, 0.0, 0.0, 0.0, 0.0, -4.697621415361164, 7.683421196062599, 4.06898981839711,
        0.3567271874552811, 0.0, 0.0, 0.0, -0.0013990241651590145, 2.9475147891527724, -9.15095847217987,
    ),
)  # fmt: skip
ERROR_5 = (
    0.01312004499419488, 0.0, 0.0, 0.0, 0.0, -1.2251564463762044, -0.4957589496572502,
    1.6643771824549864, -0.35032884874997366, 0.3341791187130175, 0.08192320648511571,
    -0.022355307863886294,
)  # fmt: skip
ERROR_3 = (
    -0.18980075407240762, 0.0, 0.0, 0.0, 0.0, 4.450312892752409, 1.8915178993145003,
    -5.801203960010585, -0.4226823213237919, -0.1521609496625161, 0.20136540080403034,
    0.02265179219836082,
)  # fmt: skip
_D = (
    (
        -8.428938276109013, 0.0, 0.0, 0.0, 0.0, 0.5667149535193777, -3.0689499459498917, 2.38466765651207,
        2.117034582445028, -0.871391583777973, 2.2404374302607883, 0.6315787787694688,
        -0.08899033645133331, 18.148505520854727, -9.194632392478356, -4.436036387594894,
    ),
    (
        10.427508642579134, 0.0, 0.0, 0.0, 0.0, 242.28349177525817, 165.20045171727028, -374.5467547226902,
        -22.113666853125306, 7.733432668472264, -30.674084731089398, -9.332130526430229,
        15.697238121770845, -31.139403219565178, -9.35292435884448, 35.81684148639408,
    ),
    (
        19.985053242002433, 0.0, 0.0, 0.0, 0.0, -387.0373087493518, -189.17813819516758, 527.8081592054236,
        -11.57390253995963, 6.8812326946963, -1.0006050966910838, 0.7777137798053443, -2.778205752353508,
        -60.19669523126412, 84.32040550667716, 11.99229113618279,
    ),
    (
        -25.69393346270375, 0.0, 0.0, 0.0, 0.0, -154.18974869023643, -231.5293791760455, 357.6391179106141,
        93.40532418362432, -37.45832313645163, 104.0996495089623, 29.8402934266605, -43.53345659001114,
        96.32455395918828, -39.17726167561544, -149.72683625798564,
    ),
)  # fmt: skip
NAME, STAGES, _LAST = "explicit", len(A), 12
# |h lambda| beyond which the method is not stable for a negative real lambda; steps after which this is believed
_STABLE, _BELIEVED = 6.1, 15
_TINY = constant(1e-300)  # keeps 0 / 0 from being not a number


def _dense() -> tuple[tuple[float, ...], ...]:
    """The continuous extension in the form of `program.Method`.

    With b the weights of the new state and e_s those of a stage alone, it is q (1 - q) times
    (e_0 - b) + q ((2 b - e_0 - e_12) + (1 - q) (D_0 + q (D_1 + (1 - q) (D_2 + q D_3)))).
    """
    polynomial = [[0.0] * STAGES for _ in range(6)]

    def add(weights: Sequence[float], coefficients: Sequence[float], factor: float = 1.0) -> None:
        for power, c in enumerate(coefficients):
            for s, weight in enumerate(weights):
                polynomial[power][s] += factor * c * weight

    add((1.0,), (1, -1))
    add(A[_LAST], (-1, 2))
    add([0.0] * _LAST + [1.0], (0, -1))
    # q (1 - q), q^2 (1 - q), q^2 (1 - q)^2, q^3 (1 - q)^2
    for row, coefficients in zip(_D, ((0, 1, -1), (0, 0, 1, -1), (0, 0, 1, -2, 1), (0, 0, 0, 1, -2, 1))):
        add(row, coefficients)
    return tuple(map(tuple, polynomial))


METHOD = Method(NAME, order=8, dense=_dense(), scaled=True, limit=_STABLE, leaves=_BELIEVED, shrink=1 / 3)


def place(layout: Layout, size: int) -> None:
    place_method(layout, NAME, size, STAGES)
    layout.place("explicit.u", size)


def emit(module: Module, size: int, states: int) -> None:
    """The functions of the method; those of the network are in `module`: "rates" of (state, result).

    Args:
        size, states: with and without time.
    """
    _emit_step(module, size, states)
    emit_accept(module, NAME, size)
    r = module.routine("explicit.complete")
    for s in range(_LAST + 1, STAGES):
        _emit_stage(r, s, size, "explicit.u")
    r.end()


def _emit_step(module: Module, size: int, states: int) -> None:
    r = module.routine("explicit.step")
    r.call("rates", r.array("y"), _stage(r, 0, size))
    for s in range(1, _LAST + 1):
        _emit_stage(r, s, size, "explicit.u" if s < _LAST else "explicit.w")
    last, before_last = _stage(r, _LAST, size), _stage(r, _LAST - 1, size)
    w, u = r.array("explicit.w"), r.array("explicit.u")

    def terms(i):
        slope = r.sub(r.load(last, i), r.load(before_last, i))
        change = r.sub(r.load(w, i), r.load(u, i))
        return [_combined(r, ERROR_5, i, size), _combined(r, ERROR_3, i, size), slope, change]

    five, three, slope, change = emit_measures(r, NAME, states, 4, terms)
    h = r.load(r.block, r.at("h"))
    both = r.mul(r.add(five, r.mul(constant(0.01), three)), constant(states))
    error = r.mul(h, r.div(five, r.sqrt(r.add(both, _TINY))))
    emit_error(r, METHOD, error)
    stiffness = r.mul(h, r.sqrt(r.div(slope, r.add(change, _TINY))))
    r.store(stiffness, r.block, r.at("explicit.stiffness"))
    r.end()


def _emit_stage(r: Routine, s: int, size: int, begin: str) -> None:
    """The slope of stage `s`, whose argument goes to the array `begin`."""
    y, target, h = r.array("y"), r.array(begin), r.load(r.block, r.at("h"))
    r.loop(size, lambda i: r.store(r.add(r.load(y, i), r.mul(h, _combined(r, A[s], i, size))), target, i))
    r.call("rates", target, _stage(r, s, size))


def _stage(r: Routine, s: int, size: int):
    return r.pointer(r.array("explicit.K"), s * size)


def _combined(r: Routine, weights: Sequence[float], i, size: int):
    """Sum over the stages of weights[q] K_q at position i."""
    total = None
    for q, weight in enumerate(weights):
        if weight:
            term = r.mul(constant(weight), r.load(_stage(r, q, size), i))
            total = term if total is None else r.add(total, term)
    return total
