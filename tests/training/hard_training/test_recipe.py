import pytest

from hard.card import ModelCard, bundled
from hard_training.augmentation import Augmentation
from hard_training.datasets import data_set_named
from hard_training.recipe import (
    Recipe,
    RecipeError,
    bundled_recipes,
    load_recipe,
    load_sweep,
    toml_text,
)

PLAIN = """
name = "mine"
placement = "pocket"
data_sets = ["motionsense"]
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text, "utf-8")
        return path

    return write


def test_what_a_recipe_does_not_say_is_the_networks_own(written):
    recipe = load_recipe(written(PLAIN + '[network]\narch = "tiny"\nepochs = 7\n'))
    architecture = recipe.network.architecture
    assert (architecture.name, architecture.epochs) == ("tiny", 7)
    assert architecture.filters == (16, 24)
    assert recipe.input.channels[3:] == ("gyro_x", "gyro_y", "gyro_z")


def test_a_recipe_written_out_is_read_as_the_same(written):
    text = PLAIN + 'channels = "accel"\n[network]\nfilters = [8, 16]\n[augmentation]\ngain = 0.1\n'
    recipe = load_recipe(written(text))
    assert recipe.augmentation == Augmentation(gain=0.1)
    assert recipe.network.architecture.filters == (8, 16)
    again = load_recipe(written(toml_text(recipe)))
    assert again == recipe
    assert again.digest == recipe.digest


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PLAIN + "epoch = 3\n", "epoch: "),
        (PLAIN + "[network]\nepochs = 0\n", "network.epochs: "),
        (PLAIN + '[network]\narch = "lstm"\n', "no network 'lstm'; there are conv-lstm"),
        (
            PLAIN + '[network]\narch = "tutorial"\nfilters = [8]\n',
            "the network 'tutorial' has none",
        ),
        (PLAIN + "[augmentation]\nspin = 3\n", "augmentation.spin: "),
        (
            PLAIN + '[network]\nfront = ["lie", "tilt"]\n',
            'network.front: tilt: +z taken for up needs frame = "upright"',
        ),
        (PLAIN + 'seed = "1"\n', "seed: "),
        (PLAIN + "[decision]\nbout = 10.0\n", "decision.bout: "),
        (PLAIN + "[decision]\nbout_s = 0.1\n", "decision.bout_s: "),
        (PLAIN + "[sweep]\nseed = 3\n", "sweep.seed: must be a list"),
        (PLAIN + '[sweep]\n"augmentation.gain" = [0.1]\n', "there is no table [augmentation]"),
        (PLAIN + '[sweep]\n"network.lr" = [0.1]\n', "network.lr: "),
        ("name = ", "not TOML"),
        ('placement = "pocket"\ndata_sets = ["motionsense"]\n', "name: "),
    ],
)
def test_what_is_wrong_is_told_with_file_and_key(text, said, written):
    with pytest.raises(RecipeError) as refused:
        load_sweep(written(text))
    assert "mine.toml: " in str(refused.value)
    assert said in str(refused.value)


def test_a_recipe_that_is_not_there_is_told(tmp_path):
    with pytest.raises(RecipeError, match=r"none\.toml: can't be read"):
        load_recipe(tmp_path / "none.toml")


def test_a_sweep_is_every_combination_and_each_is_a_run_of_its_own(written):
    sweep = '[sweep]\nseed = [0, 1, 2]\n"network.learning_rate" = [1e-3, 2e-3]\n'
    runs = load_sweep(written(PLAIN + sweep), {"network.epochs": 3})
    assert len(runs) == len({recipe.digest for _, recipe in runs}) == 6
    assert runs[1][0] == {"seed": 0, "network.learning_rate": 2e-3}
    assert runs[1][1].network.learning_rate == 2e-3
    assert {recipe.network.epochs for _, recipe in runs} == {3}


def test_a_sweep_is_not_one_recipe(written):
    with pytest.raises(RecipeError, match="2 runs where one is wanted"):
        load_recipe(written(PLAIN + "[sweep]\nseed = [0, 1]\n"))


@pytest.mark.parametrize("name", bundled_recipes())
def test_a_bundled_recipe_makes_the_model_of_its_name_from_data_of_its_placement(name):
    recipe = load_recipe(bundled_recipes()[name])
    assert recipe.name == name
    assert recipe.channels == ("accel" if name.endswith("-accel") else "accel+gyro")
    assert name != recipe.placement or recipe.frame == "device"
    assert not name.endswith("-upright") or recipe.frame == "upright"
    assert recipe.placement in data_set_named(recipe.data_sets[0]).placements


@pytest.mark.parametrize("name", bundled())
def test_a_bundled_card_decides_as_its_recipe_says(name):
    card, _ = ModelCard.load(name)
    assert card.decision == load_recipe(bundled_recipes()[name]).decision


def test_recipes_that_differ_have_other_digests():
    one = Recipe(name="x", placement="pocket", data_sets=("motionsense",))
    assert one.digest != one.with_settings({"seed": 1}).digest
