"""Several processes of one command: shares, one owner, errors that are told once, one of them killed."""

import light_work
import pytest
from parallel_work import exchanged, failing
from together import together

from recbole_mgr.distributed import processes
from recbole_mgr.distributed.environment import gpu_of_process
from recbole_mgr.distributed.launch import Machine, split_off_launch, start_processes


def test_one_process_is_an_owner_without_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert exchanged(5) == {
        "rank": 0,
        "share": [0, 1, 2, 3, 4],
        "gathered": [0],
        "in order": [0, 10, 20, 30, 40],
        "broadcast": 0,
        "sum": 0,
        "owner": "done by 0",
        "first": [0],
        "alone": (0, 1, [0]),
    }


@pytest.mark.parametrize("total", [7, 2])
def test_three_processes_share_and_exchange(total, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answers = together(3, exchanged, total)
    shares = [answer["share"] for answer in answers]
    assert [index for share in shares for index in share] == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1  # of two things one process has none
    for rank, answer in enumerate(answers):
        assert answer["rank"] == rank
        assert answer["gathered"] == ([0, 1, 2] if rank == 0 else None)
        assert answer["in order"] == [10 * index for index in range(total)]
        assert (answer["broadcast"], answer["sum"]) == (0, 3)
        assert answer["owner"] == "done by 0"
        assert answer["first"][0] == 0  # of those who entered
        assert answer["alone"] == (0, 1, [rank])


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("owner's work", "ValueError: it is wrong"),
        ("owner first", "ValueError: it is wrong"),
        ("everywhere", "ValueError: it is wrong"),
        ("the last", "ValueError: it is wrong"),
    ],
)
def test_an_error_ends_all_and_is_told_once(where, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answers = together(3, failing, where)
    assert sorted(answers) == ["SystemExit: 2", "SystemExit: 2", told]


def test_recboles_options_say_which_processes_are_here():
    split = split_off_launch(["--model", "BPR", "--nproc=2", "--world_size", "4", "--ip=a.b", "--group_offset=2"])
    assert split == (["--model", "BPR"], Machine(2, 4, "a.b", 5678, 2))
    assert split_off_launch(["--nproc=1", "--epochs=1"]) == (["--epochs=1"], None)
    assert split_off_launch(["--port", "80"]) == (["--port", "80"], None)  # a server's
    alone = split_off_launch(["--nproc=3"])[1]
    assert (alone.world_size, alone.group_offset) == (3, 0)
    assert alone.port == 0  # a free one, where no other machine needs to know it


def test_a_launch_tells_each_process_its_place_and_ends_all_with_one(tmp_path):
    with pytest.raises(ValueError, match="process 3 was ended by SIGKILL; run the same command again"):
        start_processes(Machine(2, 4, "a.b", 5678, 2), light_work.noted, str(tmp_path))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"2": "2 0 4 2 a.b", "3": "3 1 4 2 a.b"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nproc=two"], "--nproc two: expected a whole number"),
        (["--nproc=2", "--world_size=4", "--group_offset=3"], "ranks 3 to 4 are not among the 4 of --world_size"),
        (["--nproc=0"], "--nproc 0"),
    ],
)
def test_machines_that_do_not_add_up(arguments, message):
    with pytest.raises(ValueError, match=message):
        split_off_launch(arguments)


def test_each_process_of_a_machine_has_its_gpu(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert gpu_of_process("0,3", chosen=True) == "0,3"  # alone on its machine
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert gpu_of_process("0,3", chosen=True) == "3"
    assert gpu_of_process("0", chosen=False) == "1"  # RecBole's default names one GPU
    assert gpu_of_process("", chosen=True) == ""
    with pytest.raises(ValueError, match="gpu_id: 0: 1 GPU.* for the 2 processes of this machine"):
        gpu_of_process("0", chosen=True)


def test_the_processes_are_one_again_afterwards():
    assert (processes.rank(), processes.count()) == (0, 1)
