"""What a newcomer's set-up stands on: the packaging, the pinned versions, and the early, clear stops."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import spin_fairseq

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
EXTRAS = ("", "train", "praat", "evaluation", "onnx", "fairseq-scripts", "test", "lint")  # what `make setup` installs
BASH = shutil.which("bash")


def constraints(version):
    return (ROOT / "constraints" / f"py{version.replace('.', '')}.txt").read_text("utf-8")


def pins(version):
    """name -> version of a constraint file"""
    lines = [line for line in constraints(version).splitlines() if line and not line.startswith("#")]
    return {normal(line.split("==")[0]): line.split("==")[1] for line in lines}


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def egg_info(tmp_path_factory):
    """What setup.py says, as packaging tools read it."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("egg_info")
    command = [sys.executable, "-W", "ignore", "setup.py", "-q", "egg_info", "--egg-base", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return folder / "spin_fairseq.egg-info"


@pytest.fixture(scope="module")
def requirements(egg_info):
    from importlib.metadata import Distribution

    return [Requirement(line) for line in Distribution.at(egg_info).requires]


def wanted(requirements, python, extras=EXTRAS, machine="x86_64"):
    """The requirements of these extras on this Python, on Linux."""
    system = {"python_version": python, "platform_machine": machine, "sys_platform": "linux"}
    environments = [{**system, "extra": extra} for extra in extras]
    return [r for r in requirements if r.marker is None or any(r.marker.evaluate(e) for e in environments)]


def fairseqs(requirements, *arguments, **options):
    return [str(r).split(";")[0] for r in wanted(requirements, *arguments, **options) if "fairseq" in r.name]


def test_version_is_the_packages_own(egg_info):
    assert f"\nVersion: {spin_fairseq.__version__}\n" in (egg_info / "PKG-INFO").read_text("utf-8")


def test_all_rooms_are_packaged(egg_info):
    sources = (egg_info / "SOURCES.txt").read_text("utf-8").splitlines()
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "spin_fairseq").rglob("*.py")}
    assert modules <= set(sources)


OFFICIAL, COMPILED, READY = "fairseq==0.12.2", "fairseq-fixed==0.12.3.1", "ve-fairseq==0.12.3"


@pytest.mark.parametrize(
    "python, machine, ready, compiled",
    [
        ("3.10", "x86_64", OFFICIAL, OFFICIAL),
        ("3.11", "x86_64", READY, COMPILED),
        ("3.12", "x86_64", READY, COMPILED),
        ("3.13", "x86_64", COMPILED, COMPILED),
        ("3.11", "aarch64", COMPILED, COMPILED),
        ("3.12", "aarch64", COMPILED, COMPILED),
    ],
)
def test_one_fairseq_for_each_machine(requirements, python, machine, ready, compiled):
    """Two would overwrite each other's files; none would leave the training without fairseq."""
    assert fairseqs(requirements, python, ("train",), machine) == [ready]
    assert fairseqs(requirements, python, ("train-from-source",), machine) == [compiled]
    assert fairseqs(requirements, python, ("", "praat", "evaluation", "onnx"), machine) == []


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("extra", ["train", "train-from-source"])
def test_whatever_is_required_is_pinned_and_fits(requirements, python, extra):
    pinned = pins(python)
    tools = [Requirement(text) for text in ("torchaudio", "pip<24.1", "setuptools<81", "uv")]
    for requirement in wanted(requirements, python, (*EXTRAS[:1], extra, *EXTRAS[2:])) + tools:
        assert normal(requirement.name) in pinned, requirement
        assert requirement.specifier.contains(pinned[normal(requirement.name)])


def test_every_constraint_file_is_of_a_promised_python(egg_info):
    """A Python that is dropped leaves no file behind, and a new one has its pins."""
    files = sorted(path.stem for path in (ROOT / "constraints").iterdir())
    assert files == sorted(f"py{version.replace('.', '')}" for version in PYTHONS)
    promised = SpecifierSet(re.search("^Requires-Python: (.+)$", (egg_info / "PKG-INFO").read_text("utf-8"), re.M)[1])
    assert [version for version in (f"3.{minor}" for minor in range(8, 16)) if version in promised] == PYTHONS


@pytest.mark.parametrize("python", PYTHONS)
def test_constraints_go_for_any_machine(python):
    for line in constraints(python).splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)  # no +cpu, no paths
        assert not line.startswith(("nvidia", "triton"))  # torch brings the ones of its own build


# --- what pip is told on this machine, for uv


@pytest.fixture(scope="module")
def uv_settings():
    spec = importlib.util.spec_from_file_location("uv_settings", ROOT / "scripts" / "uv_settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.uv_settings


def test_pip_s_settings_in_uv_s_words(uv_settings):
    """Wheels on a disk and a company's index are found by uv too, and the environment goes before the file."""
    assert uv_settings(
        "global.find-links='/wheels /more'\n:env:.find-links='/mine'\nglobal.index-url='https://pypi.example/simple'\n"
        "global.extra-index-url='file:///a file:///b'\ninstall.trusted-host='pypi.example'\nglobal.constraint='/c.txt'"
    ) == {
        "UV_FIND_LINKS": "/mine",
        "UV_DEFAULT_INDEX": "https://pypi.example/simple",
        "UV_INDEX": "file:///a file:///b",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_INSECURE_HOST": "pypi.example",
    }
    assert uv_settings("global.find-links='/wheels /more'") == {"UV_FIND_LINKS": "/wheels,/more"}
    assert uv_settings("") == {}


def test_settings_of_uv_itself_stay(tmp_path):
    """Somebody who set UV_FIND_LINKS meant it."""
    pytest.importorskip("pip")
    pips = {"PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "/pips", "PIP_INDEX_URL": "https://i.example"}
    environment = {**os.environ, **pips}
    for variable in ("UV_FIND_LINKS", "UV_DEFAULT_INDEX"):
        environment.pop(variable, None)
    command = [sys.executable, "scripts/uv_settings.py"]
    printed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert {"UV_FIND_LINKS=/pips", "UV_DEFAULT_INDEX=https://i.example"} <= set(printed.splitlines())
    environment["UV_FIND_LINKS"] = "/uvs"
    printed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert "UV_FIND_LINKS" not in printed and "UV_DEFAULT_INDEX" in printed


# --- finding a Python, on a machine made of a few programs


def script(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{BASH}\n{text}\n")
    path.chmod(0o755)


def python_program(path, version, lacks=""):
    """An interpreter that answers the scripts' question as Python `version` would; apt-get, below, gives what it lacks."""
    installed = path.parent / "installed"
    answer = f'printf "%s\\n" python{version} "$0" "$([ -e {installed} ] || echo {lacks})"'
    script(path, f'case "$*" in *find_spec*) {answer} ;; *version_info*) echo {version} ;; esac')


@pytest.fixture
def machine(tmp_path):
    """A folder that is the whole PATH, with what any Debian has; its user is not root."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in "bash env dirname cat cut ls sort sha256sum mkdir rm tee tail sed touch true".split():
        (programs / name).symlink_to(shutil.which(name))
    script(programs / "id", "echo 1000")
    return tmp_path


def run(machine, *command, **more):
    environment = {"PATH": str(machine / "bin"), "HOME": str(machine), "PYENV_ROOT": str(machine / "pyenv"), **more}
    return subprocess.run([BASH, *command], cwd=ROOT, env=environment, capture_output=True, text=True)


def find_python(machine, *asked, **more):
    return run(machine, "scripts/find_python.sh", *asked, **more)


def test_the_python_with_the_quickest_setup_is_chosen(machine):
    for version in ["3.9", "3.10", "3.11", "3.13", "3.14"]:
        python_program(machine / "bin" / f"python{version}", version)
    assert find_python(machine).stdout == f"{machine}/bin/python3.11\n"  # there is a wheel of fairseq for it
    assert find_python(machine, "python3.10").stdout == f"{machine}/bin/python3.10\n"
    (machine / "bin" / "python3.11").unlink()
    assert find_python(machine).stdout == f"{machine}/bin/python3.13\n"


def test_a_plain_python3_counts_by_its_version(machine):
    python_program(machine / "bin" / "python3.10", "3.10")
    python_program(machine / "bin" / "python3", "3.12")
    assert find_python(machine).stdout == f"{machine}/bin/python3\n"


def test_a_shim_that_does_not_run_is_passed_over(machine):
    script(machine / "bin" / "python3.11", "echo 'pyenv: python3.11: command not found' >&2; exit 127")
    for release in ["3.11.9", "3.11.10"]:
        python_program(machine / "pyenv" / "versions" / release / "bin" / "python", "3.11")
    assert find_python(machine, "python3.11").stdout == f"{machine}/pyenv/versions/3.11.10/bin/python\n"
    python_program(machine / "bin" / "python3.10", "3.10")
    assert find_python(machine).stdout == f"{machine}/bin/python3.10\n"  # the PATH goes before pyenv's folder


def test_an_incomplete_python_is_passed_over_for_a_whole_one(machine):
    python_program(machine / "bin" / "python3.12", "3.12", lacks="python3.12-venv")
    python_program(machine / "bin" / "python3.11", "3.11")
    assert find_python(machine).stdout == f"{machine}/bin/python3.11\n"


@pytest.mark.parametrize("asked", [[], ["python3.11"], ["/usr/bin/python3.11-is-not-there"], ["python3"]])
def test_no_python_at_all(machine, asked):
    result = find_python(machine, *asked)
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.count("\n") == 1
    python = "python3.11" if asked == ["python3.11"] else "python3"
    assert f"apt install {python} {python}-venv {python}-dev g++" in result.stderr


def test_an_unsuitable_python_is_refused(machine):
    python_program(machine / "bin" / "python3.9", "3.9")
    result = find_python(machine, "python3.9")
    assert result.returncode == 1 and "PYTHON=python3.9" in result.stderr and "3.10 to 3.13" in result.stderr


@pytest.mark.parametrize("name, asked", [("python3.14", "python3.14"), ("python3", ""), ("python3.14", "")])
def test_python_3_14_is_told_why_not(machine, name, asked):
    """Not "no Python found" on a machine that has one."""
    python_program(machine / "bin" / name, "3.14")
    python_program(machine / "bin" / "python3", "3.14")
    result = find_python(machine, asked)
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert "python3.14 is too new: hydra" in result.stderr and "apt install python3.13 " in result.stderr


def test_the_probe_knows_a_real_interpreter(machine):
    """This very interpreter: whole with a compiler on the PATH, or lacking what it says; without one, g++ is asked for."""
    without = find_python(machine, sys.executable, SPIN_FAIRSEQ_FROM_SOURCE="1")
    assert without.returncode == 1 and without.stderr.split("apt install ")[1].split()[-1] == "g++"
    script(machine / "bin" / "g++", "exit 0")
    result = find_python(machine, sys.executable, SPIN_FAIRSEQ_FROM_SOURCE="1")
    assert result.stdout.strip() == sys.executable or "g++" not in result.stderr.split("apt install ")[1]


# --- an environment's life, with an interpreter that makes and fills it in no time


def quick_python(path, version, lacks=""):
    """Answers as Python `version`; as `-m venv` it copies itself; as `-m pip` it notes its arguments, and fails when told.

    What it says to `-m pip install uv` is up to UV: "works" puts a uv there that notes its arguments too, "fails" one
    that can install nothing but the wheel of fairseq; otherwise there is none.
    """
    python_program(path, version, lacks)
    with open(path, "a") as file:
        file.write(
            'case "$*" in\n'
            '  *"-m venv"*) for venv; do :; done; rm -rf "$venv"/*; mkdir -p "$venv/bin"; cat "$0" >"$venv/bin/python"\n'
            '    chmod +x "$venv/bin/python"; echo >"$venv/pyvenv.cfg" ;;\n'
            '  *"-m pip uninstall"*) echo "$*" >>"${0%/bin/python}/uninstalled" ;;\n'
            '  *"-m pip install"*) echo "$PIP_CONSTRAINT $*" >>"${0%/bin/python}/pip_calls"\n'
            '    case "${PIP_FAILS:-}" in kill) kill -9 $PPID ;; ?*) echo "$PIP_FAILS"; exit 1 ;; esac\n'
            '    case "${NO_WHEEL:-} $*" in yes*" ve-fairseq") echo "No matching distribution"; exit 1 ;; esac\n'
            '    case "${UV:-none} $*" in none*) ;; *" uv") uv=${0%python}uv; chmod +x "$uv" 2>/dev/null || {\n'
            f'      printf "%s\\n" "#!{BASH}" \'echo "$UV_CONSTRAINT $*" >>"${{0%/bin/uv}}/uv_calls"\' \\\n'
            '        \'case "$UV $*" in fails*-e*) echo "uv is lost"; exit 1 ;; esac\' >"$uv"; chmod +x "$uv"; } ;; esac ;;\n'
            '  *"import torchaudio"*) exit "${TORCHAUDIO:-0}" ;;\n'
            '  *"import soundfile"*) case "${SOUNDFILE:-works}" in works) ;; *)\n'
            '    case "$SOUNDFILE $(tail -n 1 "${0%/bin/python}/pip_calls")" in "pip "*" --no-deps soundfile") ;; *) exit 1 ;; esac\n'
            "    ;; esac ;;\n"
            "esac\n"
        )


@pytest.fixture
def quick(machine):
    (machine / "bin" / "chmod").symlink_to(shutil.which("chmod"))
    for version in ["3.10", "3.11"]:
        quick_python(machine / "bin" / f"python{version}", version)

    def set_up(*arguments, **environment):
        return run(machine, "scripts/setup_environment.sh", str(machine / "venv"), *arguments, **environment)

    set_up.venv = machine / "venv"
    set_up.pip_calls = machine / "venv" / "pip_calls"
    return set_up


def test_a_folder_that_is_no_environment_is_left_alone(quick):
    quick.venv.mkdir()
    (quick.venv / "song.flac").write_text("")
    result = quick()
    assert result.returncode == 1 and "not a virtual environment" in result.stderr
    assert os.listdir(quick.venv) == ["song.flac"]


def test_a_second_setup_does_nothing(quick):
    first = quick()
    assert first.returncode == 0, first.stderr
    calls = quick.pip_calls.read_text()
    assert "constraints/py311.txt" in calls and "-e .[train," in calls
    second = quick()
    assert second.returncode == 0 and "is ready (Python 3.11)" in second.stdout
    assert quick.pip_calls.read_text() == calls


def test_a_ready_environment_needs_no_compiler(quick, machine):
    """What only the set-up needs may be gone afterwards: `make demo` on a ready environment starts at once."""
    quick()
    for version in ["3.10", "3.11"]:
        quick_python(machine / "bin" / f"python{version}", version, lacks="g++")
    for asked in ([], ["python3.11"]):
        result = quick(*asked)
        assert result.returncode == 0 and "is ready (Python 3.11)" in result.stdout, result.stderr


def test_another_python_makes_the_environment_anew(quick):
    quick()
    result = quick("python3.10")
    assert "was made with Python 3.11; making it anew with 3.10" in result.stdout
    assert "constraints/py310.txt" in quick.pip_calls.read_text() and "py311" not in quick.pip_calls.read_text()
    assert "is ready (Python 3.10)" in quick().stdout  # and it stays so where PYTHON says nothing


def test_a_failed_install_says_why_and_goes_on_next_time(quick):
    result = quick(PIP_FAILS="ERROR: no such network")
    assert result.returncode == 1
    assert "no such network" in result.stderr and "run the same command again" in result.stderr
    again = quick()
    assert again.returncode == 0 and "anew" not in again.stdout


def test_a_killed_install_is_made_anew(quick):
    assert quick(PIP_FAILS="kill").returncode != 0
    again = quick()
    assert again.returncode == 0 and "was cut off; making it anew" in again.stdout


def test_uv_installs_at_the_same_pins(quick):
    result = quick(UV="works")
    assert result.returncode == 0, result.stderr
    calls = (quick.venv / "uv_calls").read_text()
    assert "constraints/py311.txt pip install" in calls and "-e .[train," in calls
    assert [line.split()[-1] for line in quick.pip_calls.read_text().splitlines()] == ["uv"]


def test_pip_takes_over_where_uv_fails(quick):
    result = quick(UV="fails")
    assert result.returncode == 0 and "trying with pip" in result.stdout, result.stderr
    assert "-e .[train," in quick.pip_calls.read_text()


def test_uv_can_be_declined(quick):
    assert quick(UV="works", SPIN_FAIRSEQ_NO_UV="1").returncode == 0
    assert not (quick.venv / "uv_calls").exists() and "-e .[train," in quick.pip_calls.read_text()


@pytest.mark.parametrize("why", [{"NO_WHEEL": "yes"}, {"SPIN_FAIRSEQ_FROM_SOURCE": "1"}])
def test_fairseq_is_compiled_where_its_wheel_is_not_to_be_had(quick, why):
    """The ready wheel is a convenience: without it the set-up goes on, from the sources, with torch installed first."""
    result = quick(**why)
    assert result.returncode == 0 and "is ready" in result.stdout, result.stderr
    calls = quick.pip_calls.read_text().splitlines()
    torch = next(i for i, call in enumerate(calls) if call.endswith("off torch"))
    everything = next(i for i, call in enumerate(calls) if "-e .[train-from-source," in call)
    assert torch < everything and "--no-build-isolation" in calls[everything]


def test_a_change_of_fairseq_removes_the_other(quick):
    """fairseq, fairseq-fixed and ve-fairseq install the same folder: two of them overwrite each other."""
    quick()
    assert not (quick.venv / "uninstalled").exists()
    (quick.venv / "spin_fairseq_setup").write_text("an older version of the set-up")
    assert quick().returncode == 0
    assert "-y fairseq fairseq-fixed ve-fairseq" in (quick.venv / "uninstalled").read_text()


def test_a_torchaudio_that_does_not_load_is_removed(quick):
    """PyPI's torchaudio wants CUDA's libraries; beside torch for CPUs `import torchaudio` ended in an OSError."""
    assert "torchaudio does not load" not in quick().stdout
    (quick.venv / "spin_fairseq_setup").unlink()
    result = quick(TORCHAUDIO="1")
    assert result.returncode == 0 and "torchaudio does not load" in result.stdout
    assert "-y torchaudio" in (quick.venv / "uninstalled").read_text()


def test_a_soundfile_without_libsndfile_is_replaced(quick):
    """uv took a wheel without the library, from an index that had no other; on a machine without libsndfile1 nothing worked."""
    assert "libsndfile" not in quick(UV="works").stdout
    (quick.venv / "spin_fairseq_setup").unlink()
    result = quick(UV="works", SOUNDFILE="pip")
    assert result.returncode == 0 and "soundfile came without libsndfile" in result.stdout, result.stderr


def test_without_any_libsndfile_the_package_is_named(quick):
    result = quick(UV="works", SOUNDFILE="never")
    assert result.returncode == 1 and "apt install libsndfile1; then run the same command again" in result.stderr
    assert quick(UV="works").returncode == 0


# --- what the machine lacks: installed where that is allowed, said in one line where not

LACKS = "python3.11-venv python3.11-dev g++"


@pytest.fixture
def bare(quick, machine):
    """A machine without sox, and whose only Python lacks venv, headers and compiler. apt-get installs all of these.

    apt-get's and sudo's calls are noted in `bare.apt()`; APT=fails and APT=lies are an apt-get that cannot, or says it did.
    """
    (machine / "bin" / "python3.10").unlink()
    quick_python(machine / "bin" / "python3.11", "3.11", lacks=LACKS)
    calls, sox = machine / "apt_calls", machine / "bin" / "sox"
    install = f"echo >{sox}; {shutil.which('chmod')} +x {sox}; touch {machine}/bin/installed"
    script(
        machine / "bin" / "apt-get",
        f'echo "apt-get $*" >>{calls}; echo "apt-get at work" >&2\n'
        f'case "${{APT:-}} $1" in "fails install") exit 100 ;; " install") {install} ;; esac',
    )

    def set_up(*programs, **environment):
        return quick("", *programs, **environment)

    set_up.apt = lambda: calls.read_text().splitlines() if calls.exists() else []
    set_up.venv = quick.venv
    set_up.becomes = lambda user: script(machine / "bin" / "id", f"echo {user}")
    set_up.has_sudo = lambda text: script(machine / "bin" / "sudo", text)
    return set_up


INSTALL = f"apt-get install -y --no-install-recommends sox {LACKS}"


def one_line_and_nothing_done(result, bare):
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.count("\n") == 1 and result.stderr.endswith(f"apt install sox {LACKS}\n")
    assert bare.apt() == [] and not bare.venv.exists()


def test_root_installs_what_is_missing(bare):
    bare.becomes(0)
    result = bare("sox")
    assert result.returncode == 0 and "is ready (Python 3.11)" in result.stdout, result.stderr
    assert f"SPIN_FAIRSEQ_NO_APT=1 forbids: {INSTALL}\n" in result.stdout
    assert bare.apt() == ["apt-get update -qq", f"{INSTALL} -qq"]
    assert "apt-get" not in bare("sox").stdout and len(bare.apt()) == 2  # nothing is missing any more


def test_the_command_is_printed_before_it_runs(bare):
    bare.becomes(0)
    assert bare("sox", APT="fails").stdout.rstrip().endswith(INSTALL)


def test_sudo_without_a_password_will_do(bare):
    bare.has_sudo('[ "$1" = -n ] && shift && exec "$@"')
    result = bare("sox")
    assert result.returncode == 0, result.stderr
    assert f"forbids: sudo -n {INSTALL}\n" in result.stdout and bare.apt() == ["apt-get update -qq", f"{INSTALL} -qq"]


def test_no_root_and_no_sudo_is_told_in_one_line(bare):
    one_line_and_nothing_done(bare("sox"), bare)


def test_a_sudo_that_asks_for_a_password_is_left_alone(bare):
    bare.has_sudo("echo 'sudo: a password is required' >&2; exit 1")
    one_line_and_nothing_done(bare("sox"), bare)


def test_apt_can_be_forbidden(bare):
    bare.becomes(0)
    one_line_and_nothing_done(bare("sox", SPIN_FAIRSEQ_NO_APT="1"), bare)


def test_a_machine_without_apt_is_told_in_one_line(bare, machine):
    bare.becomes(0)
    (machine / "bin" / "apt-get").unlink()
    one_line_and_nothing_done(bare("sox"), bare)


def test_an_apt_that_fails_is_not_tried_again(bare):
    bare.becomes(0)
    result = bare("sox", APT="fails")
    assert result.returncode == 1 and result.stderr.endswith(f"On Debian or Ubuntu: apt install sox {LACKS}\n")
    assert len(bare.apt()) == 2 and not bare.venv.exists()


def test_an_apt_that_installs_nothing_does_not_go_round_in_circles(bare):
    bare.becomes(0)
    result = bare("sox", APT="lies")
    assert result.returncode == 1 and len(bare.apt()) == 2
    last = result.stderr.splitlines()[-1]
    assert last.startswith("set-up: missing: the sox program; ") and last.endswith(f"apt install sox {LACKS}")


def test_sox_is_asked_for_where_it_is_named_alone(bare, machine):
    """The demo needs no sox: only the tests, one backend, and files that soundfile cannot read do."""
    (machine / "bin" / "installed").touch()
    assert bare().returncode == 0
    result = bare("sox")
    assert result.returncode == 1
    assert result.stderr == "set-up: missing: the sox program. On Debian or Ubuntu: apt install sox\n"


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
@pytest.mark.parametrize("target, sox", [("setup", False), ("demo", False), ("test", True), ("test-fast", True)])
def test_the_tests_alone_ask_for_sox(target, sox):
    commands = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    setup = next(line for line in commands.splitlines() if "setup_environment.sh" in line)
    assert setup.endswith(" sox") == sox
