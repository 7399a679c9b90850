//! Resident memory of each service while nothing happens, and the time from its start until it is ready.
//!
//! The broker answers and its streams are there before a service starts; for the sink, MLflow answers too. The time
//! counts from before the program is executed (a shell that guards it included, about a millisecond) to the first 200
//! of `/readyz`, asked every millisecond. A worker is ready when its Python children have imported scikit-learn, which
//! is Python's time: its own part ends when its component `broker` is ready, and both are shown.

use std::ffi::OsString;
use std::time::Duration;

use local_stack::{Mlflow, MlflowConfig};
use service_kit::error::CliError;

use crate::cli::{Effort, progress};
use crate::environments::{mlflow_python, trainer_python};
use crate::faults;
use crate::process_table;
use crate::programs::Programs;
use crate::service::{Plan, Service};
use crate::stand::{Stand, worker_flags};
use crate::table::{Figure, Finding, Target, Unit};
use crate::timings::Timings;

/// What is promised.
const MEGABYTES: f64 = 40.0;
const READY: Duration = Duration::from_millis(200);
/// After this a service that was just started is idle: its caches are what they stay.
const SETTLE: Duration = Duration::from_secs(2);
/// Slots of the worker; its children are not counted.
const SLOTS: usize = 2;

/// One service to be measured.
struct Subject {
    name: &'static str,
    flags: Vec<OsString>,
    /// The component whose readiness is the service's own part, where `/readyz` waits for more.
    own_part: Option<&'static str>,
}

/// Measures every service, one after the other.
pub(crate) async fn measure(effort: Effort) -> Result<Vec<Finding>, CliError> {
    let names = ["bridge-worker", "mlflow-sink", "dlq-classifier"];
    let programs = Programs::build(&names).await?;
    let stand = Stand::open().await?;
    let _connection = stand.connect().await?;
    progress("starting MLflow");
    let config =
        MlflowConfig::new(mlflow_python().await?, stand.dir().join("mlflow"), stand.dir().join("mlflow.log"));
    let mlflow = Mlflow::start(config).await.map_err(|error| faults::not_started(&error))?;
    let subjects = [
        Subject {
            name: names[0],
            flags: worker_flags(&trainer_python().await?, SLOTS),
            own_part: Some("broker"),
        },
        Subject { name: names[1], flags: vec!["--mlflow-url".into(), mlflow.url().into()], own_part: None },
        Subject { name: names[2], flags: Vec::new(), own_part: None },
    ];
    let mut findings = Vec::new();
    for subject in subjects {
        findings.extend(subject.measure(&stand, &programs, effort.choose(3, 10)).await?);
    }
    Ok(findings)
}

impl Subject {
    async fn measure(
        &self,
        stand: &Stand,
        programs: &Programs,
        starts: usize,
    ) -> Result<Vec<Finding>, CliError> {
        progress(format!("{starts} starts of {}", self.name));
        let (mut own, mut whole) = (Timings::new(), Timings::new());
        let mut resident = None;
        let dir = stand.dir().join(self.name);
        std::fs::create_dir_all(&dir)?;
        for start in 1..=starts {
            let service = Service::start(Plan {
                name: self.name,
                program: programs.path(self.name)?,
                dir: &dir,
                nats_url: &stand.url(),
                flags: self.flags.clone(),
            })
            .await?;
            if let Some(component) = self.own_part {
                own.record(service.component_ready(component).await?);
            }
            whole.record(service.ready().await?);
            if start == starts {
                tokio::time::sleep(SETTLE).await;
                resident = Some(process_table::resident(service.pid())?);
            }
            service.stop().await;
        }
        Ok(self.findings(resident.expect("the last start was measured"), &own, &whole))
    }

    fn findings(&self, resident: Figure, own: &Timings, whole: &Timings) -> Vec<Finding> {
        let name = self.name;
        let limit = Target::OursBelow(Figure::new(MEGABYTES, Unit::Megabytes));
        let soon = Target::OursBelow(Figure::millis(READY));
        let ready = |title: String, timings: &Timings, target| {
            let worst = Figure::millis(timings.quantile(1.0));
            Finding::alone(title, Figure::millis(timings.p50()), target)
                .with_remark(format!("the slowest took {worst}"))
        };
        let mut findings = vec![Finding::alone(format!("memory: {name}, idle"), resident, limit)];
        match self.own_part {
            Some(_) => {
                findings.push(ready(format!("ready: {name} without its children"), own, soon));
                findings.push(ready(format!("ready: {name} with its children"), whole, Target::None));
            }
            None => findings.push(ready(format!("ready: {name}"), whole, soon)),
        }
        findings
    }
}
