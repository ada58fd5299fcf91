"""The command `fmnist`."""

import click

import fmnist
from fmnist.cli import (
    about,
    analyse,
    convolve,
    data,
    predict,
    race,
    reports,
    reproduce,
    scale,
    session,
    study,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(fmnist.__version__)
def main() -> None:
    """Keras 3 on TensorFlow and on JAX, timed side by side on Fashion-MNIST."""


for command in (
    *(
        session.run,
        race.race,
        reproduce.reproduce,
        study.study,
        scale.scale,
        reports.report,
        reports.compare,
        reports.check,
        reports.history,
    ),
    *(
        analyse.analyse,
        reports.export,
        reports.publish,
        about.doctor_command,
        about.models_command,
        data.data_command,
        predict.predict,
        convolve.convolve,
    ),
):
    main.add_command(command)
