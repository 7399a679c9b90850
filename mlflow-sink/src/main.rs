//! The sink as a program of its own; `cerebros sink` is the same.

fn main() -> std::process::ExitCode {
    service_kit::program::run("mlflow-sink", async |cli: mlflow_sink::Cli, shutdown| {
        mlflow_sink::run(cli.command, shutdown).await
    })
}
