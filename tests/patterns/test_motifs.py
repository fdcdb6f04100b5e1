"""A motif that was planted is found where it stands, on either strand and at the ends, and nothing else is."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from whycell.encode.sequences import one_hot
from whycell.errors import DataError, FormatError
from whycell.patterns.enriched import enrichment
from whycell.patterns.hits import find_hits
from whycell.patterns.known import KnownMotif, match_known, read_meme
from whycell.patterns.motifs import _padded, distinct, find_motifs, motif_from_sites
from whycell.patterns.scan import codes_of, scan
from whycell.patterns.told import told_motifs
from whycell.results import Motif

WIDTH, LENGTH = 10, 80
SHARES = np.full((4, WIDTH), 0.02)
SHARES[[2, 0, 3, 0, 0, 2, 1, 1, 0, 3], range(WIDTH)] = 0.94


@pytest.fixture(scope="module")
def planted():
    """Sequences, hypothetical contributions of a network that knows the motif, and where it stands."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 4, (240, LENGTH))
    places = []
    hypothetical = rng.normal(0, 0.02, (240, 4, LENGTH)).astype(np.float32)
    weights = np.log2(SHARES / 0.25)
    for row in range(160):
        start, turned = (0 if row < 15 else int(rng.integers(0, LENGTH - WIDTH))), bool(row % 2)
        letters = np.array([rng.choice(4, p=SHARES[:, at]) for at in range(WIDTH)])
        codes[row, start : start + WIDTH] = 3 - letters[::-1] if turned else letters
        hypothetical[row, :, start : start + WIDTH] += 0.3 * (weights[::-1, ::-1] if turned else weights)
        places.append((row, start, "-" if turned else "+"))
    x = np.eye(4, dtype=np.float32)[codes].transpose(0, 2, 1).copy()
    return x, hypothetical, pd.DataFrame(places, columns=["sequence", "start", "strand"])


@pytest.fixture(scope="module")
def found(planted):
    x, hypothetical, _ = planted
    return find_motifs(x, hypothetical, fewest_sites=20)


def test_one_motif_alone_is_found_with_its_letters(found):
    kept, _ = distinct([m for m in found if m.name.startswith("positive")])
    assert len(kept) == 1
    consensus = kept[0].consensus.upper()
    either = {consensus, consensus.translate(str.maketrans("ACGT", "TGCA"))[::-1]}
    assert any("GATAAGCCA" in text for text in either)


def test_the_same_scores_give_the_same_motifs(planted, found):
    again = find_motifs(planted[0], planted[1], fewest_sites=20)
    assert [m.name for m in again] == [m.name for m in found]
    np.testing.assert_array_equal(again[0].letters, found[0].letters)


def test_hits_are_the_planted_places(planted, found):
    x, hypothetical, places = planted
    hits = find_hits(found[:1], x, hypothetical)
    middle = dict(zip(hits["sequence"], (hits["start"] + hits["stop"]) / 2, strict=True))
    near = [
        abs(middle.get(row, np.inf) - start - WIDTH / 2) <= 3
        for row, start in zip(places["sequence"], places["start"], strict=True)
    ]
    assert np.mean(near) > 0.9
    assert (hits["sequence"] >= 160).mean() < 0.1
    assert (hits["contribution"] > 0).mean() > 0.9


def test_shuffled_scores_have_no_hits_to_speak_of(planted, found):
    rng = np.random.default_rng(1)
    x = np.eye(4, dtype=np.float32)[rng.integers(0, 4, (240, LENGTH))].transpose(0, 2, 1).copy()
    assert len(find_hits(found[:1], x, np.zeros_like(x))) < 20


def test_what_the_network_says_of_the_rest_of_a_sequence_finds_weaker_sites(weak):
    x, hypothetical, motif, places = weak
    told = _found(find_hits([motif], x, hypothetical), places)
    alone = _found(find_hits([motif], x, np.zeros_like(hypothetical)), places)
    assert told[0] > alone[0] + 0.05
    assert told[1] < 0.08


def test_a_covariate_that_says_nothing_changes_little(weak):
    x, _, motif, places = weak
    noise = np.random.default_rng(3).normal(size=x.shape).astype(np.float32)
    told, alone = (_found(find_hits([motif], x, h), places) for h in (noise, np.zeros_like(x)))
    assert abs(told[0] - alone[0]) < 0.04
    assert told[1] < 0.08


def test_a_network_that_answers_to_chance_matches_makes_no_hits():
    rng = np.random.default_rng(4)
    x = np.eye(4, dtype=np.float32)[rng.integers(0, 4, (400, LENGTH))].transpose(0, 2, 1).copy()
    motif = Motif("positive_1", SHARES, SHARES, SHARES, pd.DataFrame({"strand": []}))
    by_chance = scan(codes_of(x), SHARES, background=np.full(4, 0.25), least=4.0)
    hypothetical = np.zeros_like(x)
    for row, start in zip(by_chance.sequence, by_chance.start, strict=True):
        hypothetical[row, :, start : start + WIDTH] = 1
    assert len(find_hits([motif], x, hypothetical)) == 0


@pytest.fixture(scope="module")
def weak():
    """Half of the sequences hold three sites of a motif that chance makes too, and a network answers to each."""
    rng = np.random.default_rng(6)
    shares = np.full((4, 8), 0.06)
    shares[[2, 0, 3, 0, 0, 2, 1, 1], range(8)] = 0.82
    codes = rng.integers(0, 4, (1000, 120))
    hypothetical = np.zeros((1000, 4, 120), dtype=np.float32)
    places = []
    for row in range(500):
        for third in range(3):
            start = 40 * third + int(rng.integers(0, 32))
            codes[row, start : start + 8] = [rng.choice(4, p=shares[:, at]) for at in range(8)]
            hypothetical[row, :, start : start + 8] = 0.1
            places.append((row, start))
    x = np.eye(4, dtype=np.float32)[codes].transpose(0, 2, 1).copy()
    return x, hypothetical, Motif("positive_1", shares, shares, shares, pd.DataFrame({"strand": []})), set(places)


def _found(hits, places):
    """Share of the places that are hit, and share of the hits that are no place, within two letters."""
    near = {(row, start + off) for row, start in places for off in (-2, -1, 0, 1, 2)}
    at = set(zip(hits["sequence"], hits["start"], strict=True))
    hit = [any((row, start + off) in at for off in (-2, -1, 0, 1, 2)) for row, start in places]
    return np.mean(hit), np.mean([place not in near for place in at])


def test_known_motifs_are_recognised_turned_round(tmp_path, found):
    path = tmp_path / "known.meme"
    rng = np.random.default_rng(2)
    lines = ["MEME version 4", "", "ALPHABET= ACGT", ""]
    collection = {"planted": SHARES[::-1, ::-1].T}
    collection |= {f"other{i}": rng.dirichlet(np.full(4, 0.3), WIDTH) for i in range(60)}
    for name, rows in collection.items():
        lines += [f"MOTIF id_{name} {name}", f"letter-probability matrix: alength= 4 w= {WIDTH} nsites= 9"]
        lines += [" ".join(f"{v:.4f}" for v in row) for row in rows] + [""]
    path.write_text("\n".join(lines))
    best = match_known(found[:1], read_meme(path)).iloc[0]
    assert best["name"] == "planted"
    assert best["q"] < 0.01
    path.write_text("\n".join(lines[:8]))
    with pytest.raises(FormatError, match="cut off"):
        read_meme(path)


def test_a_motif_from_sites_is_their_mean_on_the_strand_it_is_read():
    x = one_hot(["AACGTTT", "AAACGTT"])
    sites = pd.DataFrame({"sequence": [0, 1], "start": [1, 2], "stop": [4, 5], "strand": ["+", "-"]})
    motif = motif_from_sites(x, np.ones_like(x), sites)
    assert motif.letters[:, 0].argmax() == 0
    assert motif.letters[1, 1] > 0.4
    np.testing.assert_allclose(motif.letters.sum(axis=0), 1)
    np.testing.assert_array_equal(motif.turned().turned().letters, motif.letters)


def test_a_motif_and_its_other_strand_are_one():
    one = Motif("positive_1", SHARES, SHARES, SHARES, pd.DataFrame({"strand": []}))
    other = Motif("positive_2", SHARES[::-1, ::-1][:, 1:], SHARES, SHARES, pd.DataFrame({"strand": []}))
    kept, same = distinct([one, other])
    assert [m.name for m in kept] == ["positive_1"]
    assert same == {"positive_2": "positive_1"}


def test_a_part_is_a_repeat_and_a_whole_with_more_to_say_is_none():
    sites = pd.DataFrame({"strand": ["+"] * 100})
    pair = np.concatenate([SHARES, np.full((4, 3), 0.25), SHARES[:, ::-1]], axis=1)
    one, both = (Motif(f"positive_{at}", m, m, m, sites) for at, m in enumerate((SHARES, pair)))
    assert distinct([both, one])[1] == {"positive_0": "positive_1"}
    assert distinct([one, both])[1] == {}


def test_sequences_that_say_nothing_have_no_motif(planted):
    x, hypothetical, _ = planted
    assert find_motifs(x, np.zeros_like(x)) == []
    assert find_motifs(x[:0], hypothetical[:0]) == []
    with pytest.raises(DataError, match="no numbers"):
        find_motifs(x, np.full_like(hypothetical, np.nan))


def test_padding_adds_no_sites(planted, found):
    x, hypothetical, _ = planted
    letters, scores = _padded(x, hypothetical, 41)
    inside = (letters * scores)[:, 41:-41].sum(axis=2)
    np.testing.assert_array_equal(inside, (x * hypothetical).sum(axis=1))
    outside = np.abs((letters * scores)[:, :41].sum(axis=2))
    assert 0 < np.median(outside) < 2 * np.median(np.abs(inside))
    assert all(m.name.startswith("positive") for m in found)


def test_a_weak_pattern_matches_no_flat_columns(found):
    collection = [
        KnownMotif("a", "flat", np.full((4, WIDTH), 0.25) + 0.01 * SHARES),
        KnownMotif("b", "planted", SHARES),
    ]
    rng = np.random.default_rng(3)
    collection += [KnownMotif(str(i), str(i), rng.dirichlet(np.full(4, 0.3), WIDTH).T) for i in range(60)]
    weak = np.full((4, 30), 0.25) + 0.05 * rng.normal(size=(4, 30))
    weak = Motif("positive_9", np.abs(weak) / np.abs(weak).sum(axis=0), weak, weak, pd.DataFrame({"strand": []}))
    matches = match_known([weak, found[0]], collection)
    assert not (matches.query("motif == 'positive_9'")["q"] < 0.01).any()
    assert matches.query("motif == @found[0].name")["name"].iloc[0] == "planted"


def test_two_that_differ_in_one_letter_of_nine_are_one_motif():
    sites = pd.DataFrame({"sequence": range(200), "start": 0, "stop": 9, "strand": "+"})
    words = ("CAGATAAGG", "GAGATAAGG", "CAGTTAACG")
    shares = [0.97 * one_hot([word])[0] + 0.0075 for word in words]
    first, second, other = (Motif(f"positive_{at}", s, s, s, sites) for at, s in enumerate(shares))
    kept, same = distinct([first, second, other])
    assert [m.name for m in kept] == ["positive_0", "positive_2"]
    assert same == {"positive_1": "positive_0"}


def test_what_is_no_motif_is_left_out_with_the_reason(planted, found):
    x, hypothetical, _ = planted
    real = found[0]
    flat = replace(real, name="positive_2", letters=np.full((4, WIDTH), 0.25))
    again = replace(real.turned(), name="positive_3")
    other = np.roll(SHARES, 1, axis=0)
    dealt = real.sites.assign(start=np.random.default_rng(5).integers(0, x.shape[2] - WIDTH, len(real.sites)))
    elsewhere = replace(real, name="positive_4", letters=other, sites=dealt.assign(stop=dealt["start"] + WIDTH))
    against = replace(real, name="negative_1")
    told = told_motifs([real, flat, again, elsewhere, against], x, hypothetical)
    reasons = dict(zip(told.left_out["motif"], told.left_out["reason"], strict=True))
    assert [m.name for m in told.motifs] == ["positive_1"]
    assert set(told.hits["motif"]) == {"positive_1"}
    assert reasons["positive_2"] == "0.0 bits say too little"
    assert reasons["positive_3"] == "positive_1 again, or a part of it"
    assert "beyond what shuffled sequences hold" in reasons["positive_4"]
    assert len(reasons) == 4
    assert match_known(told.motifs, []).empty


def test_a_word_too_short_for_a_sure_place_is_told_where_the_sequences_hold_more_of_it():
    rng = np.random.default_rng(0)
    x = np.eye(4, dtype=np.float32)[rng.integers(0, 4, (600, 100))].transpose(0, 2, 1).copy()
    word = np.eye(4, dtype=np.float32)[[1, 0, 2, 2, 3]].T
    bound = rng.permutation(600)[:250]
    start = rng.integers(0, 95, 250)
    for row, at in zip(bound, start, strict=True):
        x[row, :, at : at + 5] = word
    hypothetical = np.zeros_like(x)
    sites = pd.DataFrame({"sequence": bound, "start": start, "stop": start + 5, "strand": "+"})
    planted = motif_from_sites(x, hypothetical + 1, sites, name="positive_1")
    junk = sites.assign(sequence=rng.integers(0, 600, 250), start=rng.integers(0, 95, 250))
    elsewhere = motif_from_sites(x, hypothetical + 1, junk.assign(stop=junk["start"] + 5), name="positive_2")
    none = np.zeros((600, 100), dtype=bool)
    found = enrichment(planted, x, covered=none)
    assert found.p < 1e-6
    assert found.held > found.by_chance + 60
    assert enrichment(elsewhere, x, covered=none).p > 1e-3
    covered = none.copy()
    covered[bound[:, None], start[:, None] + np.arange(5)] = True
    assert enrichment(planted, x, covered=covered).p > 1e-3
    told = told_motifs([planted], x, hypothetical)
    assert list(told.enriched) == ["positive_1"]
    assert [m.name for m in told.motifs] == ["positive_1"]


def test_a_place_is_told_of_the_motif_that_fits_it_better(planted, found):
    x, hypothetical, _ = planted
    worse = replace(found[0], name="positive_2", letters=0.7 * found[0].letters + 0.3 / 4)
    hits = find_hits([found[0], worse], x, hypothetical)
    middles = {name: set(zip(t["sequence"], t["start"], strict=True)) for name, t in hits.groupby("motif")}
    assert not middles.get("positive_1", set()) & middles.get("positive_2", set())


def test_shapes_that_cannot_be_are_told():
    with pytest.raises(DataError, match="wanted the same"):
        find_motifs(np.zeros((3, 4, 50)), np.zeros((3, 4, 49)))
    with pytest.raises(DataError, match="windows of 21"):
        find_motifs(np.zeros((3, 4, 15)), np.zeros((3, 4, 15)))
