"""For people: captions pictures, in files and folders, with any checkpoint. `blip-on-cpu` once installed."""

from stages.captioner.commands.caption import command

if __name__ == "__main__":
    command()
