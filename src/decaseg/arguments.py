"""How the words of a command line are read, and how an error becomes one line of it."""

from __future__ import annotations

from decaseg.storage import no_memory

# Libraries that not everyone installs, and the extra that brings each to where it is needed.
EXTRAS = {
    "torch": "train",
    "safetensors": "train",
    "scipy": "score",
    "openvino": "runtime",
    "nncf": "openvino",
    "fastapi": "serve",
    "uvicorn": "serve",
    "h5py": "keras",
    "matplotlib": "report",
    "skimage": "report",
    "jinja2": "report",
    "ipyniivue": "view",
    "nilearn": "demo",
    "pydicom": "dicom",
    "highdicom": "dicom",
}
# Options that take several words: `--channels FLAIR T1w` is read as `--channels FLAIR --channels T1w`.
SEVERAL_WORDS = {"--channels", "--set", "--labels", "--tolerance", "--image", "--viewer-case", "--animations"}


def spread(argv: list[str]) -> list[str]:
    """Repeats options of several words before each of their words, so that the parser sees one word an option."""
    words: list[str] = []
    option: str | None = None
    fresh = False
    for word in argv:
        if word in SEVERAL_WORDS:
            option, fresh = word, True
        elif option is not None and not word.startswith("--"):
            words += [option, word]
            fresh = False
        else:
            if fresh and option:
                words.append(option)
            option, fresh = None, False
            words.append(word)
    if fresh and option:
        words.append(option)
    return words


def one_line(error: Exception) -> str | None:
    """What to print for an error that the user can mend; None for a fault of ours, which deserves its traceback."""
    if hasattr(error, "format_message"):  # click's own: unknown option, missing argument
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context else ""
        text = f"{error.format_message()}{hint}"
    elif no_memory.refused(error):
        text = no_memory.in_words(error)
    elif isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        text = f"{place}{error.strerror or error}; check the path, its permissions and the free space"
    elif isinstance(error, ValueError | FloatingPointError):
        text = str(error)
    elif isinstance(error, ModuleNotFoundError) and (library := str(error.name).partition(".")[0]) in EXTRAS:
        ways = f"pip install 'decaseg[{EXTRAS[library]}]', or 'decaseg[all]' for all commands"
        text = f"this needs {library}, which is not installed; {ways}"
    else:
        return None
    return "decaseg: " + " ".join(text.split())
