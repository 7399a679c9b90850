//! The steps of an attempt, and what takes each of them back.
//!
//! ```text
//! gate -> identify -> claim -> fence -> announce -> execute -> check -> end -> settle
//! ```
//! Pure. When a step cannot be done, those that were done are undone in reverse: what was executed is marked as the
//! work of a run that came to nothing, what was announced is announced as over, what was claimed is given up. Once the
//! end is said there is nothing to undo; what comes after it is repeated until it holds.

use schemas::lifecycle::RunState;

/// A step of an attempt, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// The gates are looked at.
    Gate,
    /// The request is read and given its run id.
    Identify,
    /// The run becomes ours: the registry hands out the attempt.
    Claim,
    /// Older attempts are shut out, and what they left is read.
    Fence,
    /// The attempt is announced.
    Announce,
    /// Trials are trained.
    Execute,
    /// The result is held against what a completed run promises.
    Check,
    /// The end is announced and written down.
    End,
    /// The broker is told that the request is done with.
    Settle,
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 9] = [
        Self::Gate,
        Self::Identify,
        Self::Claim,
        Self::Fence,
        Self::Announce,
        Self::Execute,
        Self::Check,
        Self::End,
        Self::Settle,
    ];
}

/// How the steps are undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The run is over without having completed: failed or cancelled.
    Over(RunState),
    /// A later attempt goes on.
    Again,
    /// Another attempt has gone on already; whatever we did is its business now.
    Stale,
}

/// One act of undoing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undo {
    /// The files of the run's trials are marked with how it ended; nobody takes them for those of a completed run.
    MarkArtifacts(RunState),
    /// The end of the run, or of the attempt, is announced.
    Say(RunState),
    /// The registry learns it.
    Write(RunState),
}

/// What was done so far.
#[derive(Debug, Default)]
pub struct Done(Vec<Step>);

impl Done {
    /// Notes that a step was done.
    pub fn note(&mut self, step: Step) {
        debug_assert!(self.0.last().is_none_or(|last| *last < step), "steps are done in order");
        self.0.push(step);
    }

    /// True when the step was done.
    pub fn has(&self, step: Step) -> bool {
        self.0.contains(&step)
    }

    /// What takes all of it back, in the order in which it has to be done.
    pub fn undo(&self, why: Why) -> Vec<Undo> {
        if self.has(Step::End) {
            return Vec::new();
        }
        self.0.iter().rev().flat_map(|step| undo(*step, why)).collect()
    }
}

fn undo(step: Step, why: Why) -> Vec<Undo> {
    match (step, why) {
        (_, Why::Stale) => vec![],
        // Behind the fence one knows what files there are, of earlier attempts too.
        (Step::Fence, Why::Over(state)) => vec![Undo::MarkArtifacts(state)],
        (Step::Announce, Why::Again) => vec![Undo::Say(RunState::Interrupted)],
        // Whoever has claimed a run has the duty to say what became of it.
        (Step::Claim, Why::Over(state)) => vec![Undo::Say(state), Undo::Write(state)],
        (Step::Claim, Why::Again) => vec![Undo::Write(RunState::Interrupted)],
        (
            Step::Gate
            | Step::Identify
            | Step::Fence
            | Step::Announce
            | Step::Execute
            | Step::Check
            | Step::End
            | Step::Settle,
            _,
        ) => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An attempt that got as far as the steps before `stopped`.
    fn up_to(stopped: Step) -> Done {
        let mut done = Done::default();
        Step::ALL.into_iter().filter(|step| *step < stopped).for_each(|step| done.note(step));
        done
    }

    #[test]
    fn a_failed_run_is_marked_said_and_written_in_reverse_order() {
        let failed = RunState::Failed;
        let undo = |stopped| up_to(stopped).undo(Why::Over(failed));
        assert_eq!(undo(Step::Claim), []);
        assert_eq!(undo(Step::Fence), [Undo::Say(failed), Undo::Write(failed)]);
        let all = [Undo::MarkArtifacts(failed), Undo::Say(failed), Undo::Write(failed)];
        assert_eq!(undo(Step::Announce), all);
        assert_eq!(undo(Step::End), all);
    }

    #[test]
    fn an_interrupted_attempt_says_so_only_when_it_was_announced_and_keeps_its_files() {
        let undo = |stopped| up_to(stopped).undo(Why::Again);
        assert_eq!(undo(Step::Announce), [Undo::Write(RunState::Interrupted)]);
        let both = [Undo::Say(RunState::Interrupted), Undo::Write(RunState::Interrupted)];
        assert_eq!(undo(Step::Check), both);
    }

    #[test]
    fn nothing_is_undone_by_a_stale_attempt_or_after_the_end_was_said() {
        for step in Step::ALL {
            assert_eq!(up_to(step).undo(Why::Stale), []);
        }
        assert_eq!(up_to(Step::Settle).undo(Why::Over(RunState::Failed)), []);
    }

    #[test]
    fn every_act_of_undoing_happens_once_at_most() {
        for step in Step::ALL {
            for why in [Why::Over(RunState::Cancelled), Why::Again, Why::Stale] {
                let acts = up_to(step).undo(why);
                let said = acts.iter().filter(|act| matches!(act, Undo::Say(_))).count();
                let written = acts.iter().filter(|act| matches!(act, Undo::Write(_))).count();
                assert!(said <= 1 && written <= 1, "{step:?} {why:?}: {acts:?}");
                assert!(said <= written, "what is said is written");
            }
        }
    }
}
