//! A trial and the result cache: answered from it, or kept in it.

use std::path::Path;
use std::sync::Arc;

use schemas::event::{MetricReported, TrialStatus};
use schemas::{Event, TrialId};
use service_kit::clock;

use super::Trial;
use super::topic::Told;
use crate::announce::Unsaid;
use crate::artifacts::{Announced, read_checked};
use crate::cache::ResultCache;
use crate::cache::contract::Contract;
use crate::cache::entry::{Entry, KeptFile, MAX_ENTRY_BYTES};
use crate::child::protocol::CallResult;

/// Events that are said at once; each is a message.
const EVENTS_AT_ONCE: usize = 500;

impl Trial {
    /// Where results are kept and under what; none when this trial's are not.
    /// Neither what a search prunes by nor what somebody else's script does is part of the key.
    pub(super) fn may_be_cached(&self) -> bool {
        self.cache.is_some() && !self.plan.prunes() && !self.invoker.has_script()
    }

    fn place_in_cache(&self) -> Option<(&Arc<ResultCache>, Contract)> {
        let cache = self.cache.as_ref().filter(|_| self.may_be_cached())?;
        Some((cache, cache.contract(&self.plan, &self.proposal)?))
    }

    /// What an equal trial came to, said again as this one's: its reports as events, its files in `workdir`.
    pub(super) async fn recall(
        &self,
        id: &TrialId,
        workdir: &Path,
    ) -> Option<Result<(CallResult, Vec<Announced>), Unsaid>> {
        let (cache, contract) = self.place_in_cache()?;
        let entry = cache.recall(contract).await?;
        let files = match restore(&entry, workdir).await {
            Ok(files) => files,
            Err(error) => {
                tracing::warn!(trial = %id, %error, "a cached result cannot be laid out; the trial is trained");
                return None;
            }
        };
        if let Err(error) = self.report_again(id, &entry).await {
            return Some(Err(error));
        }
        let age_ms = (clock::now().micros() - entry.at.micros()).max(0) / 1000;
        let mut warnings = entry.warnings;
        warnings.push(format!(
            "answered from the result cache: {} came to this {age_ms} ms ago under the same contract",
            entry.trial_id
        ));
        let result = CallResult {
            metrics: entry.metrics,
            spectral_norm: entry.spectral_norm,
            spectral_norm_value: entry.spectral_norm_value,
            warnings,
            ..CallResult::new(0, TrialStatus::Succeeded)
        };
        Some(Ok((result, files)))
    }

    async fn report_again(&self, id: &TrialId, entry: &Entry) -> Result<(), Unsaid> {
        let recorded_at = clock::now();
        let values = entry.reports.iter().flat_map(|report| {
            report.metrics.iter().map(|(name, value)| (report.step, name.clone(), *value))
        });
        let event = |(step, name, value)| -> Event {
            MetricReported {
                run_id: self.plan.run_id.clone(),
                trial_id: id.clone(),
                name,
                value,
                step,
                recorded_at,
                attempt: Some(self.attempt),
            }
            .into()
        };
        let events: Vec<Event> = values.map(event).collect();
        for some in events.chunks(EVENTS_AT_ONCE) {
            self.announcer.say(some).await?;
        }
        Ok(())
    }

    /// Keeps what this trial came to, if that is a success and small enough.
    pub(super) async fn remember(&self, id: &TrialId, workdir: &Path, result: &CallResult, told: &mut Told) {
        // Other data sets than its own are not part of its contract.
        let is_its_own = result.other_datasets.is_empty();
        if result.status != TrialStatus::Succeeded || !told.has_all_reports() || !is_its_own {
            return;
        }
        let Some((cache, contract)) = self.place_in_cache() else { return };
        let Some(files) = contents(workdir, &told.files).await else { return };
        let entry = Entry {
            at: clock::now(),
            trial_id: id.to_string(),
            metrics: result.metrics.clone(),
            warnings: result.warnings.clone(),
            spectral_norm: result.spectral_norm,
            spectral_norm_value: result.spectral_norm_value,
            reports: std::mem::take(&mut told.reports),
            files,
        };
        cache.remember(contract, entry, result.source.clone());
    }
}

/// The files as if the trial had just written them. Their names are not used as paths.
async fn restore(entry: &Entry, workdir: &Path) -> std::io::Result<Vec<Announced>> {
    let mut files = Vec::with_capacity(entry.files.len());
    for (number, file) in entry.files.iter().enumerate() {
        let path = workdir.join(format!("cached-{number}"));
        tokio::fs::write(&path, &file.content).await?;
        files.push(Announced {
            name: file.name.clone(),
            path,
            sha256: file.sha256.clone(),
            media_type: file.media_type.clone(),
        });
    }
    Ok(files)
}

/// The files with their contents; `None` when they are too large, or not what was announced.
async fn contents(workdir: &Path, files: &[Announced]) -> Option<Vec<KeptFile>> {
    let mut left = MAX_ENTRY_BYTES;
    let mut kept = Vec::with_capacity(files.len());
    for file in files {
        let bytes = tokio::fs::metadata(&file.path).await.ok()?.len();
        left = left.checked_sub(usize::try_from(bytes).ok()?)?;
        let content = read_checked(workdir, file).await.ok()?;
        kept.push(KeptFile {
            name: file.name.clone(),
            sha256: file.sha256.clone(),
            media_type: file.media_type.clone(),
            bytes: content.len(),
            content,
        });
    }
    Some(kept)
}
