"""`make export`: write an agent as agent.onnx, which runs without PyTorch."""

import argparse

from scripts import options

FLAGS = (*options.A_RUN, "model")


def command(args: argparse.Namespace) -> None:
    """Export, check."""
    run = options.find_run(args)
    agent = run.model(args.model)
    from custom.evaluation.onnx import SCREENS, export_onnx

    file, difference = export_onnx(run, agent)
    print(f"{agent.name}: values differ by {difference:.1g} at most, on {SCREENS} screens")
    print(f"ONNX: {file}")


if __name__ == "__main__":
    options.main(command)
