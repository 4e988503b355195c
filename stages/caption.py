"""For people: captions pictures, in files and folders, with any checkpoint."""

from stages.captioner.caption import main
from stages.captioner.command_line import run

if __name__ == "__main__":
    run(main)
