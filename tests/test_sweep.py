import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pretend
import pytest

from difflab.errors import InputError
from difflab.runs.executors import Share, _stop, on_ray, on_slurm, on_this_machine
from difflab.runs.results import read_run
from difflab.runs.sweep import finished, flags, grid, measured, remaining_seconds, state, sweep

COMMAND = (sys.executable, pretend.__file__)


def here(share=Share(runs=2)):  # noqa: B008
    return lambda jobs: on_this_machine(jobs, COMMAND, share)


def totals(jobs):
    return [read_run(job.folder).rows[0].value for job in jobs]


def steps(job):
    """(process, step) of every step that was ever done."""
    return [tuple(map(int, line.split()[:2])) for line in (job.folder / "steps.txt").read_text().splitlines()]


def under_way(job):
    """Running, with at least one step done."""
    return state(job.folder).name == "running" and (job.folder / "steps.txt").exists()


def expected(numbers):
    return [n * sum(range(pretend.STEPS)) for n in numbers]


def wait_for(condition, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


class TestGrid:
    def test_every_combination_in_order(self):
        found = grid(["n=1,2", "learning-rate=0.1", "sizes=4 8,16"])
        assert [tuple(s.values()) for s in found] == [
            ("1", "0.1", "4 8"), ("1", "0.1", "16"), ("2", "0.1", "4 8"), ("2", "0.1", "16")]  # fmt: skip
        assert flags(found[0]) == ("--n", "1", "--learning_rate", "0.1", "--sizes", "4", "8")

    @pytest.mark.parametrize(
        ("over", "says"),
        [
            ([], "--over"),
            (["n"], "not of the form"),
            (["n="], "not of the form"),
            (["=3"], "not of the form"),
            (["n=1,,2"], "not of the form"),
            (["n=1", "n=2"], "twice"),
            (["n=1,1"], "twice"),
            (["source=it's,b"], "no closing quotation"),
        ],
    )
    def test_refused(self, over, says):
        with pytest.raises(InputError, match=says):
            [flags(setting) for setting in grid(over)]


class TestThisMachine:
    def test_all_runs_are_done_once_and_the_finished_ones_left_alone(self, tmp_path):
        jobs = [pretend.job(tmp_path, n) for n in range(1, 5)]
        assert sweep(jobs[:1], here(), "first") == []
        assert sweep(jobs, here(), "all") == []
        assert totals(jobs) == expected(range(1, 5))
        assert all(len(steps(job)) == pretend.STEPS for job in jobs)

    def test_each_worker_keeps_to_its_cores(self, tmp_path):
        show = tmp_path / "show.py"
        show.write_text("import os; print(sorted(os.sched_getaffinity(0)), os.environ['OMP_NUM_THREADS'])")
        jobs = [pretend.job(tmp_path, n) for n in (1, 2)]
        mine = os.sched_getaffinity(0)
        assert list(on_this_machine(jobs, (sys.executable, str(show)), Share(runs=2, cpus=1))) == [0, 0]
        said = {(job.folder / "log.txt").read_text().strip() for job in jobs}
        cores = sorted(mine)
        assert said == {f"[{cores[0]}] 1", f"[{cores[1 % len(cores)]}] 1"}
        assert os.sched_getaffinity(0) == mine

    def test_a_killed_worker_loses_only_what_was_in_flight(self, tmp_path):
        jobs = [pretend.job(tmp_path, n, pause=0.2) for n in (1, 2, 3)]
        killed = []

        def executor(left):
            for code in on_this_machine(left, COMMAND, Share(runs=1)):
                killed.append(code)
                yield code

        wanted = jobs[0].folder / "steps.txt"
        with subprocess.Popen([sys.executable, "-c", _KILLER, str(wanted)]) as killer:
            left = sweep(jobs, executor, "killed")
            killer.wait()
        assert left == [jobs[0]] and killed[0] == -signal.SIGKILL
        assert state(jobs[0].folder).name == "stopped"
        assert sweep(jobs, here(), "again") == []
        assert totals(jobs) == expected((1, 2, 3))
        done = [i for _, i in steps(jobs[0])]
        # The killed process may have done one step whose checkpoint it did not write.
        assert sorted(set(done)) == list(range(pretend.STEPS)) and len(done) <= pretend.STEPS + 1

    def test_a_killed_sweep_goes_on(self, tmp_path):
        jobs = [pretend.job(tmp_path, n, pause=0.15) for n in range(1, 5)]
        process = _sweeping(tmp_path, 4, 0.15)
        wait_for(lambda: finished(jobs[0].folder) is not None)
        process.kill()
        process.wait()
        assert finished(jobs[3].folder) is None
        assert sweep(jobs, here(), "again") == []
        assert totals(jobs) == expected(range(1, 5))
        # Workers outlive a sweep that is killed; nobody does their work a second time.
        assert all(len(steps(job)) == pretend.STEPS for job in jobs)

    def test_two_sweeps_at_once_share_the_work(self, tmp_path):
        jobs = [pretend.job(tmp_path, n) for n in range(1, 7)]
        both = [_sweeping(tmp_path, 6, 0.1) for _ in range(2)]
        assert [process.wait(180) for process in both] == [0, 0]
        assert totals(jobs) == expected(range(1, 7))
        assert all(len(steps(job)) == pretend.STEPS for job in jobs)
        lines = [line for job in jobs for line in (job.folder / "steps.txt").read_text().splitlines()]
        assert {int(line.split()[2]) for line in lines} == {process.pid for process in both}
        assert not any("waiting for it" in (job.folder / "log.txt").read_text() for job in jobs)

    def test_an_interrupted_sweep_stops_its_workers(self, tmp_path):
        jobs = [pretend.job(tmp_path, n, pause=0.3) for n in (1, 2)]
        running = on_this_machine([*jobs, pretend.job(tmp_path, 3, 30.0)], COMMAND, Share(runs=3))
        next(running)
        wait_for(lambda: state(pretend.job(tmp_path, 3).folder).name == "running")
        begin = time.monotonic()
        running.close()
        assert time.monotonic() - begin < 30
        assert state(pretend.job(tmp_path, 3).folder).name == "stopped"

    def test_a_worker_that_does_not_hear_ends_all_the_same(self):
        deaf = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print(1, flush=True); time.sleep(99)"
        process = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"1\n"
        _stop([process], grace_seconds=0.5)
        assert process.returncode == -signal.SIGTERM

    def test_a_full_disk_is_one_sentence_and_loses_nothing(self, tmp_path):
        jobs = [pretend.job(tmp_path, n) for n in (1, 2)]
        assert sweep(jobs[:1], here(), "first") == []
        limited = [sys.executable, "-c", _LIMITED, *COMMAND]
        left = sweep(jobs, lambda todo: on_this_machine(todo, limited, Share()), "full")
        assert left == [jobs[1]]
        found = state(jobs[1].folder)
        assert found.name == "stopped" and found.note.startswith("cannot write") and "Traceback" not in found.note
        assert sweep(jobs, here(), "room again") == [] and totals(jobs) == expected((1, 2))


class TestState:
    def test_waiting_running_done(self, tmp_path):
        job = pretend.job(tmp_path, 1, pause=0.3)
        assert state(job.folder).name == "waiting"
        running = on_this_machine([job], COMMAND, Share())
        process = _sweeping(tmp_path, 1, 0.3)
        wait_for(lambda: state(job.folder).name == "running")
        process.wait()
        assert state(job.folder) == ("done", "0 of 0 claims held")
        assert list(running) == [0]

    def test_cost_of_what_is_left(self, tmp_path):
        jobs = [pretend.job(tmp_path, n) for n in (1, 2, 3)]
        with pytest.raises(InputError, match="no run"):
            remaining_seconds(jobs, [1.0, 1.0, 1.0], 1)
        sweep(jobs[:1], here(), "one")
        # The finished one took a second for 2 units; 4 and 6 are left, side by side or one after the other.
        assert remaining_seconds(jobs, [2.0, 4.0, 6.0], 2) == pytest.approx(3.0)
        assert remaining_seconds(jobs, [2.0, 4.0, 6.0], 1) == pytest.approx(5.0)
        # A run that was resumed was timed in part only.
        meta = jobs[0].folder / "meta.json"
        meta.write_text(meta.read_text().replace('"seconds"', '"resumed": true, "seconds"'))
        assert finished(jobs[0].folder) and measured(jobs[0].folder) is None


@pytest.fixture
def importable(monkeypatch):
    """Workers find the pretended experiment."""
    monkeypatch.setenv("PYTHONPATH", str(Path(pretend.__file__).parent))


class TestSlurm:
    def test_a_preempted_job_is_queued_again_and_goes_on(self, tmp_path, importable):
        jobs = [pretend.job(tmp_path, n, pause=0.4) for n in (1, 2)]
        killer = subprocess.Popen([sys.executable, "-c", _PREEMPTER, str(jobs[0].folder / "steps.txt")])
        assert sweep(jobs, lambda todo: on_slurm(todo, pretend.work, Share(), tmp_path / "log", "local"), "slurm") == []
        killer.wait()
        assert totals(jobs) == expected((1, 2))
        done = steps(jobs[0])
        assert len({pid for pid, _ in done}) == 2
        assert sorted({i for _, i in done}) == list(range(pretend.STEPS)) and len(done) <= pretend.STEPS + 1

    def test_without_slurm(self, tmp_path):
        with pytest.raises(InputError, match="no Slurm"):
            list(on_slurm([pretend.job(tmp_path, 1)], pretend.work, Share(), tmp_path / "log"))

    def test_an_interrupted_sweep_leaves_no_job_behind(self, tmp_path, importable):
        jobs = [pretend.job(tmp_path, 1), pretend.job(tmp_path, 2, pause=60.0)]
        running = on_slurm(jobs, pretend.work, Share(), tmp_path / "log", "local")
        assert next(running) == 0
        wait_for(lambda: state(jobs[1].folder).name == "running")
        running.close()
        wait_for(lambda: state(jobs[1].folder).name != "running", seconds=30)


class TestRay:
    def test_an_address_that_does_not_answer_is_one_sentence(self):
        """A process that listens and says nothing is what a wrong port or a firewall looks like."""
        pytest.importorskip("ray")
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"127.0.0.1:{silent.getsockname()[1]}"
            script = (
                "import ray\nfrom difflab.errors import InputError\nfrom difflab.runs.executors import connect\n"
                f"try:\n    connect(ray, {address!r}, 2.0)\nexcept InputError as error:\n    print(error)"
            )
            answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
        assert answer.stdout == f"no Ray cluster answers at {address}; start one, or leave it out.\n", answer.stderr

    def test_more_than_any_node_has_is_refused(self, tmp_path):
        ray = pytest.importorskip("ray")
        try:
            ray.init(address="local", num_cpus=1, log_to_driver=False, include_dashboard=False)
        except Exception as error:
            pytest.skip(f"no Ray can be started here: {error}")
        try:
            with pytest.raises(InputError, match=r"no node has 64 cores and 0\.25 GPUs"):
                list(on_ray([pretend.job(tmp_path, 1)], pretend.work, Share(cpus=64, gpus=0.25)))
        finally:
            ray.shutdown()

    def test_a_node_that_dies_loses_only_what_was_in_flight(self, tmp_path, importable):
        ray = pytest.importorskip("ray")
        from ray.cluster_utils import Cluster

        # The head has no room for tasks, so that they run on the two nodes.
        try:
            cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        except Exception as error:
            pytest.skip(f"no Ray can be started here: {error}")
        try:
            nodes = [cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)]
            ray.init(address=cluster.address, log_to_driver=False)
            jobs = [pretend.job(tmp_path, n, pause=0.4) for n in range(1, 5)]

            def executor(todo):
                ended = on_ray(todo, pretend.work, Share())
                yield next(ended)
                # One on each node, and each has done a step.
                wait_for(lambda: sum(under_way(job) for job in jobs) == 2)
                cluster.remove_node(nodes[1], allow_graceful=False)
                yield from ended

            assert sweep(jobs, executor, "ray") == []
            assert totals(jobs) == expected(range(1, 5))
            assert sum(len(steps(job)) for job in jobs) <= pretend.STEPS * len(jobs) + 1
            assert len({pid for job in jobs for pid, _ in steps(job)}) == 5
        finally:
            ray.shutdown()
            cluster.shutdown()


def _sweeping(out, n, pause):
    return subprocess.Popen([sys.executable, "-c", _SWEEPER, str(out), str(n), str(pause)],
                            env=os.environ | {"PYTHONPATH": str(Path(pretend.__file__).parent)})  # fmt: skip


_SWEEPER = """
import sys; from pathlib import Path
import pretend; from difflab.runs.executors import *; from difflab.runs.sweep import sweep
out, n, pause = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
jobs = [pretend.job(out, i, pause) for i in range(1, n + 1)]
command = (sys.executable, pretend.__file__)
sys.exit(len(sweep(jobs, lambda todo: on_this_machine(todo, command, Share(runs=2)), "sweeping")))
"""
_SIGNALLER = """
import os, signal, sys, time
from pathlib import Path
path = Path(sys.argv[1])
while not path.exists() or len(path.read_text().splitlines()) < 2: time.sleep(0.02)
os.kill(int(path.read_text().split()[0]), signal.{})
"""
_KILLER, _PREEMPTER = _SIGNALLER.format("SIGKILL"), _SIGNALLER.format("SIGUSR2")
_LIMITED = """
import os, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
os.execv(sys.argv[1], sys.argv[1:])
"""
