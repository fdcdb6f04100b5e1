"""Effects are those of another implementation, turn round with the variant, and name the motif that is broken."""

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from whycell.data.genome_letters import GenomeLetters, as_codes
from whycell.data.variant_windows import Change, change_of, rolled
from whycell.data.variants import Variant
from whycell.encode.sequences import one_hot
from whycell.patterns.named_motifs import first_for
from whycell.patterns.variant_motifs import changed_motifs, scored_motifs
from whycell.patterns.variants import NullEffects, Reservoir, random_change, variant_effects

LENGTH, SIZE = 41, 300
TAL, GATA = "ACATCTGT", "AGATAA"


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first = torch.nn.Conv1d(4, 8, 9, padding=4)
        self.last = torch.nn.Linear(8, 2)

    def forward(self, x):
        both = (self.first(x), self.first(x.flip(1, 2)))
        return sum(self.last(torch.relu(h).amax(dim=-1)) for h in both) / 2


NET = Net().eval()


def ask(x):
    with torch.no_grad():
        return NET(torch.as_tensor(x, dtype=torch.float32)).numpy()


def genome_of(tmp_path, text, name="g.fa"):
    (tmp_path / name).write_text(f">c\n{text}\n")
    return GenomeLetters(tmp_path / name)


@pytest.fixture
def text():
    return "".join(np.random.default_rng(0).choice(list("ACGT"), SIZE))


def a_variant(rng, text):
    at = int(rng.integers(60, SIZE - 60))
    ref = text[at : at + int(rng.integers(1, 5))]
    alt = "".join(rng.choice(list("ACGT"), int(rng.integers(1, 6))))
    return Variant("c", at + 1, ".", ref, alt if alt != ref else alt + "A")


def test_substitutions_have_the_effects_that_tangermeme_gives(tmp_path, text):
    from tangermeme.variant_effect import substitution_effect

    genome, half = genome_of(tmp_path, text), LENGTH // 2
    places = np.random.default_rng(1).integers(half, SIZE - half - 1, 20)
    alts = [(c + 1) % 4 for c in as_codes(text)[places]]
    changes = [
        Change("c", int(p), int(p) + 1, np.array([a], dtype=np.uint8)) for p, a in zip(places, alts, strict=True)
    ]
    ours = variant_effects(ask, changes, genome=genome, length=LENGTH)
    x = torch.as_tensor(one_hot([text[p - half : p + half + 1] for p in places]))
    given = torch.as_tensor(np.array([(i, half, a) for i, a in enumerate(alts)]))
    before, after = substitution_effect(NET, x, given, device="cpu")
    np.testing.assert_allclose(ours.effect, (after - before).numpy(), atol=1e-5)
    assert np.isnan(ours.spread).all()


def test_deletions_and_insertions_have_the_effects_that_tangermeme_gives(tmp_path, text):
    from tangermeme.variant_effect import deletion_effect, insertion_effect

    p, half, gone, theirs = 150, LENGTH // 2, 3, []
    deletion = Change("c", p, p + gone, np.empty(0, np.uint8))
    insertion = Change("c", p, p, np.array([2], np.uint8))
    ours = variant_effects(ask, [deletion, insertion], genome=genome_of(tmp_path, text), length=LENGTH)
    # One window in which the front stays, and one in which what is behind stays.
    for start, left in ((p - half, False), (p + gone + half - LENGTH - gone, True)):
        wide = torch.as_tensor(one_hot([text[start : start + LENGTH + gone]]))
        each = torch.as_tensor([[0, p - start + i] for i in range(gone)])
        before, after = deletion_effect(NET, wide, each, left=left, device="cpu")
        theirs.append((after - before).numpy()[0])
    for start, left in ((p - half, False), (p + half - LENGTH, True)):
        x = torch.as_tensor(one_hot([text[start : start + LENGTH]]))
        before, after = insertion_effect(NET, x, torch.as_tensor([[0, p - start, 2]]), left=left, device="cpu")
        theirs.append((after - before).numpy()[0])
    np.testing.assert_allclose(ours.effect, [np.mean(theirs[:2], axis=0), np.mean(theirs[2:], axis=0)], atol=1e-5)
    np.testing.assert_allclose(ours.spread[0], np.std(theirs[:2], axis=0, ddof=1), atol=1e-5)


def test_a_variant_taken_back_and_one_on_the_other_strand(tmp_path, text):
    rng = np.random.default_rng(3)
    turn = str.maketrans("ACGT", "TGCA")
    for _ in range(12):
        variant = a_variant(rng, text)
        start, stop = variant.position - 1, variant.position - 1 + len(variant.ref)
        after = text[:start] + variant.alt + text[stop:]
        genomes = [genome_of(tmp_path, t, f"{i}.fa") for i, t in enumerate((text, after, text.translate(turn)[::-1]))]
        back = variant._replace(ref=variant.alt, alt=variant.ref)
        place = SIZE - stop + 1
        turned = Variant("c", place, ".", *(a.translate(turn)[::-1] for a in (variant.ref, variant.alt)))
        for file in tmp_path.glob("*.fa*"):
            file.unlink()
        one, again, other = (
            variant_effects(ask, [change_of(v)], genome=g, length=LENGTH, shifts=3).effect
            for v, g in zip((variant, back, turned), genomes, strict=True)
        )
        np.testing.assert_allclose(one, -again, atol=1e-5)
        if len(variant.ref) == len(variant.alt) == 1 or change_of(variant).kind in ("insertion", "deletion"):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_it_does_not_matter_which_letters_of_a_repeat_are_named(tmp_path, text):
    text = text[:150] + "CAGCAGCAG" + text[159:]
    genome = genome_of(tmp_path, text)
    gone = [Change("c", at, at + 3, np.empty(0, np.uint8)) for at in (150, 152, 156)]
    come = [Change("c", at, at, as_codes(text[at : at + 3])) for at in (150, 151, 156)]
    for same in (gone, come):
        effects = variant_effects(ask, same, genome=genome, length=LENGTH, shifts=3)
        np.testing.assert_allclose(effects.effect, np.tile(effects.effect[0], (3, 1)), atol=1e-6)
        assert effects.asked < 15
        assert len({rolled(change, genome, behind=False)[:3] for change in same}) == 1


def test_p_values_of_random_changes_are_uniform(tmp_path, text):
    genome, rng = genome_of(tmp_path, text), np.random.default_rng(5)
    reservoir = Reservoir(400, rng=rng)
    seen = [Change("c", int(p), int(p) + 1, np.array([(as_codes(text)[p] + 1) % 4])) for p in range(100, 180)]
    for change in seen:
        reservoir.add(change)
    drawn = reservoir.null_changes(400, genome, length=LENGTH)
    assert set(drawn) == {"snv"}
    null = NullEffects({"snv": variant_effects(ask, drawn["snv"], genome=genome, length=LENGTH).effect})
    others = [random_change(c, genome, length=LENGTH, rng=rng) for c in seen * 2]
    kept = [c for c in others if c is not None]
    effect = variant_effects(ask, kept, genome=genome, length=LENGTH).effect
    p = null.p_values(["snv"] * len(kept), effect)
    assert kstest(p[:, 0], "uniform").pvalue > 0.001
    assert np.isnan(null.p_values(["deletion"], effect[:1])).all()


def shares(consensus):
    return 0.91 * one_hot([consensus])[0] + 0.03


MOTIFS = scored_motifs(
    [("m1", "TAL1", "", 1, shares(TAL)), ("m2", "GATA", "t", -1, shares(GATA + "GA"))],
    background=np.full(4, 0.25),
    p=1e-4,
)


def test_the_distribution_of_scores_is_exact():
    from itertools import product

    steps = MOTIFS.steps[:8]
    every = np.array([sum(steps[i, c] for i, c in enumerate(w)) for w in product(range(4), repeat=8)])
    for score in (-100, 0, int(MOTIFS.least[0]), int(every.max())):
        assert MOTIFS.p_value(0, score) == pytest.approx((every >= score).mean(), rel=1e-9)
    assert (every >= MOTIFS.least[0]).mean() <= 1e-4 < (every >= MOTIFS.least[0] - 1).mean()


@pytest.mark.parametrize("turned", [False, True])
def test_motifs_are_made_broken_and_weakened(tmp_path, turned):
    rng = np.random.default_rng(8)
    plain = ["".join(rng.choice(list("ACGT"), 40)) for _ in range(2)]
    site = TAL.translate(str.maketrans("ACGT", "TGCA"))[::-1] if turned else TAL
    genome = genome_of(tmp_path, plain[0] + site + plain[1])
    broken = change_of(Variant("c", 44, ".", site[3], "G" if site[3] != "G" else "A"))
    gone = change_of(Variant("c", 43, ".", site[2:6], site[2]))
    made = change_of(Variant("c", 20, ".", plain[0][19], plain[0][19] + "AGATAAGA"))
    found = changed_motifs([broken, gone, made], MOTIFS, genome=genome)
    for change, each in zip((broken, gone), found, strict=False):
        assert [(e.motif, e.what, e.strand) for e in each] == [(0, "broken", "-" if turned else "+")]
        assert change.start + each[0].offset == 40
        assert each[0].score_ref > 15 > each[0].score_alt
    assert (1, "made") in [(e.motif, e.what) for e in found[2]]
    assert first_for(found[2], MOTIFS, effect=-1.0)[0].motif == 1
