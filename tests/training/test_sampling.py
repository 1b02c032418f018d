"""How often each photo is drawn."""

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import tensorflow as tf

from mobilevit_core.data.choice import DataChoice
from mobilevit_core.data.dataset import PhotoDataset
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.training.recipes import Recipe, balance_notes, head_balance_notes
from mobilevit_core.training.sampling import Sampling
from tests.drawing import noise_folder

RECIPE = Recipe(image_size=64, stages=((64, 1),), batch_size=10)


def draws(sampling: Sampling, epochs: int = 1) -> list[np.ndarray]:
    return [sampling.draw(tf.constant([0, epoch])).numpy() for epoch in range(epochs)]


def shares(dataset: PhotoDataset, drawn: np.ndarray) -> dict[str, float]:
    names = [dataset.class_names[dataset.split("train")[index].label] for index in drawn]
    return {name: count / len(drawn) for name, count in Counter(names).items()}


def test_even_data_is_drawn_once_each(tmp_path: Path) -> None:
    dataset = load_dataset(str(noise_folder(tmp_path, {"blue": 20, "red": 20})))
    sampling = Sampling.of(dataset, RECIPE)
    first, second = draws(sampling, 2)
    assert sorted(first) == sorted(second) == list(range(32)) and list(first) != list(second)
    assert list(first) == list(draws(sampling)[0])


def test_classes_are_balanced_where_they_are_uneven(tmp_path: Path) -> None:
    dataset = load_dataset(str(noise_folder(tmp_path, {"common": 100, "rare": 20})))
    assert dataset.unevenness == 5 and "5.0 times" in balance_notes(dataset, RECIPE)[0]
    assert dataset.smallest_class == ("rare", 16) and "every class counts" in head_balance_notes(dataset)[0]
    sampling = Sampling.of(dataset, RECIPE)
    assert sampling.epoch_photos == 96
    drawn = draws(sampling, 20)
    assert all(len(epoch) == 96 for epoch in drawn)
    assert abs(shares(dataset, np.concatenate(drawn))["rare"] - 0.5) < 0.01
    assert len(set(np.concatenate(drawn).tolist())) == 96  # nobody is forgotten
    plain = Sampling.of(dataset, dataclasses.replace(RECIPE, balance="none"))
    assert sorted(draws(plain)[0]) == list(range(96))


def test_weights_of_sources(tmp_path: Path) -> None:
    data = [str(noise_folder(tmp_path / name, {"blue": 20, "red": 20}, i)) for i, name in enumerate("ab")]
    dataset = load_dataset(DataChoice(tuple(data), weights={data[1]: 3.0}))
    counts = Counter(
        dataset.split("train")[i].origin for i in np.concatenate(draws(Sampling.of(dataset, RECIPE), 10))
    )
    assert counts == {data[0]: 160, data[1]: 480}


def test_every_batch_has_its_share_of_other_things(tmp_path: Path) -> None:
    wanted = str(noise_folder(tmp_path / "w", {"blue": 40, "red": 40}, 1))
    many, few = (str(noise_folder(tmp_path / n, {"": c}, c)) for n, c in (("many", 300), ("few", 20)))
    dataset = load_dataset(DataChoice((wanted,), other=(many, few)))
    photos, sampling = dataset.split("train"), Sampling.of(dataset, RECIPE)
    assert sampling.epoch_photos == round(64 / 0.7)
    drawn = draws(sampling, 8)
    for epoch in drawn:
        is_other = np.array([photos[index].label == dataset.other for index in epoch])
        per_batch = is_other[:90].reshape(9, 10).sum(axis=1)
        assert set(per_batch) <= {2, 3, 4}
        assert sorted(epoch[~is_other]) == [i for i, p in enumerate(photos) if p.label != dataset.other]
    origins = Counter(photos[i].origin for i in np.concatenate(drawn) if photos[i].label == dataset.other)
    assert abs(origins[many] / (origins[many] + origins[few]) - 0.5) < 0.1
