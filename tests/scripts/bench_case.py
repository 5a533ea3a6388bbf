"""What the tests of benchmarks share: a stand-in for distmnist, and runs of a script that prints a table."""

import sys

from script_case import ScriptTest, support

BENCH = support.ROOT / "tests" / "bench"
sys.path[:0] = [str(BENCH), str(BENCH / "gpu")]

# Notes its flags in the file $RUNS, and prints what the tasks of a run of 20 batches/s print.
DISTMNIST = """\
    echo "distmnist $*" >>"$RUNS"
    task=local
    for argument; do
      case $argument in
        --job_name=*) job=${argument#*=} ;;
        --task_index=*) task=$job:${argument#*=} ;;
        ${FAILS_WITH:---fail}) exit 3 ;;
      esac
    done
    case $task in
      ps*) memory=40 ;;
      worker:0) memory=80 first=0.20 ;;
      *) memory=60 first=0.25 ;;
    esac
    echo "x: I $task] peak memory $memory MB, 1 s in all" >&2
    [ "$job" != ps ] || exit 0
    echo "x: I $task] first step $first s after the start" >&2
    echo "x: I $task] trained until global_step 9 at 20.0 global steps/s" >&2
    echo "x: I $task] time per step 0.9 ms: compute 0.1, push 0.2, wait 0.4 (for other workers 0.2), pull 0.3; sent" >&2
    echo "test_accuracy=${ACCURACY:-0.9912} global_step=9"
    """


class BenchTest(ScriptTest):
    def setUp(self):
        super().setUp()
        self.runs = self.folder / "runs"
        self.program_file = self.fake("distmnist", DISTMNIST)

    def bench(self, *command, code=0, **environment):
        """The finished process, the rows of its tables, and the runs of the stand-ins."""
        self.runs.write_text("")
        done = self.finish(command, code, env={"RUNS": str(self.runs), **environment})
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines()
                if line.startswith("|")]
        return done, rows, self.runs.read_text().splitlines()
