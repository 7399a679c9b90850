//! What cannot be explained, rule by rule.

use super::Ledger;
use crate::audit::facts::{Reader, bit};
use crate::audit::gone::Gone;
use crate::audit::ranges::{total, without};
use crate::audit::report::Finding;

impl Ledger {
    /// What is no longer on the stream, and nobody answers for.
    pub(super) fn gone(&mut self, gone: &Gone) {
        let parts = [
            (&gone.left, "it left the stream before everybody had handled it, without notice"),
            (&gone.deleted, "somebody deleted it from the stream, and it has no dead letter"),
        ];
        for (silent, why) in parts {
            let open = without(silent, self.facts.acknowledged.for_all());
            // One of them alone is counted where it is named.
            self.also_dead += open
                .iter()
                .filter(|(from, to)| to > from)
                .map(|range| total(&[*range]) - total(&without(&[*range], &gone.dead)))
                .sum::<u64>();
            open.into_iter().for_each(|range| self.find(Finding::of_range(range, "", why)));
        }
    }

    /// Deliveries the broker says came to nothing.
    pub(super) fn unheard(&mut self) {
        let unheard = self.facts.unheard().filter(|one| !self.facts.is_answered(one));
        let findings: Vec<Finding> = unheard
            .map(|one| {
                let why = if one.is_terminated {
                    "its consumer terminated it, and it has no dead letter"
                } else {
                    "its deliveries ran out, and it has no dead letter"
                };
                Finding::of(one.seq, "", &one.consumer, why)
            })
            .collect();
        findings.into_iter().for_each(|finding| self.find(finding));
    }

    pub(super) fn never_read(&mut self, number: usize) {
        let Some((range, count)) = self.unread[number].filter(|(_, count)| *count > 0) else { return };
        let reader = &self.facts.readers[number];
        let finding = Finding { count, ..Finding::of_range(range, &reader.name, &reader.why_from) };
        if finding.through.is_some() {
            let (letters, readers) = (&self.facts.letters, bit(number));
            self.also_dead += letters.count(range, readers) - letters.excused(range, readers, &reader.name);
        }
        self.find(Finding { subject: reader.filters.join(" "), ..finding });
    }

    /// A consumer that has nothing in hand and stands behind what it was delivered: the next message it was to settle
    /// ran out of deliveries. Of those behind it the broker tells how many did.
    pub(super) fn gave_up(&mut self, number: usize) {
        let candidates = std::mem::take(&mut self.candidates[number]);
        let reader = self.facts.readers[number].clone();
        let Some((first, subject)) = candidates.first.first().cloned() else { return };
        let lettered = self.seen_to(&reader);
        // Of a consumer with a single delivery the broker remembers nothing.
        let lost = reader.redelivered.saturating_sub(lettered).max(u64::from(!candidates.is_floor_explained));
        if lost == 0 {
            return;
        }
        let why = "its deliveries ran out, and it has no dead letter";
        if lost >= candidates.count {
            for (seq, subject) in candidates.first {
                self.find(Finding::of(seq, &subject, &reader.name, why));
            }
            return;
        }
        self.find(Finding::of(first, &subject, &reader.name, why));
        if lost > 1 {
            let range = (first + 1, candidates.last);
            let why = format!("{} of these ran out of deliveries and have no dead letter", lost - 1);
            self.find(Finding { count: lost - 1, ..Finding::of_range(range, &reader.name, &why) });
        }
    }

    /// Of the messages the broker counts as given up by a consumer: those that sweeps have accounted for, and those that
    /// have had a letter since, or will have one in a moment.
    fn seen_to(&self, reader: &Reader) -> u64 {
        let above = reader.given_up.through;
        let announced = self.facts.advisories.iter().filter(|one| !one.is_settled && !one.is_terminated);
        let announced = announced.filter(|one| one.consumer == reader.name && one.seq > above).count() as u64;
        let letters = &self.facts.letters;
        reader.given_up.accounted.min(reader.redelivered)
            + letters.given_up_by(&reader.name, (above + 1, u64::MAX), reader.created)
            + announced
    }

    /// What sweeps have found to be given up, without being able to name it; returns how many of it are answered for.
    pub(super) fn lost(&mut self) -> u64 {
        let nameless = self.facts.nameless();
        let (findings, answered): (Vec<Option<Finding>>, Vec<u64>) = nameless
            .map(|(consumer, loss, count, answered)| {
                let open = count - answered;
                let why = format!(
                    "{open} of these ran out of deliveries without a dead letter, and nobody can tell which (found {})",
                    loss.at
                );
                let range = (loss.from, loss.to);
                let finding = Finding { count: open, ..Finding::of_range(range, consumer, &why) };
                (Some(finding).filter(|finding| finding.count > 0), answered)
            })
            .unzip();
        findings.into_iter().flatten().for_each(|finding| self.find(finding));
        answered.into_iter().sum()
    }

    /// A consumer that has moved past messages it gave up.
    pub(super) fn moved_past(&mut self, number: usize) {
        let reader = self.facts.readers[number].clone();
        let explained = self.seen_to(&reader)
            + self
                .findings
                .iter()
                .filter(|finding| finding.consumer == reader.name)
                .map(|one| one.count)
                .sum::<u64>();
        let lost = reader.redelivered.saturating_sub(reader.in_hand).saturating_sub(explained);
        let range = (self.facts.first.max(1), reader.delivered.min(self.facts.last));
        if lost > 0 && range.0 <= range.1 {
            let why = format!(
                "{lost} of these ran out of deliveries without a dead letter, and their consumer has moved past them"
            );
            self.find(Finding { count: lost, ..Finding::of_range(range, &reader.name, &why) });
        } else if reader.is_ours && reader.max_deliver == 1 && !reader.is_watched && reader.floor > 0 {
            let why = "its consumer is limited to one delivery, of which the broker keeps no trace, and no classifier has watched it";
            let range = (self.facts.first.max(1), reader.floor);
            self.find(Finding { count: 0, ..Finding::of_range(range, &reader.name, why) });
        }
    }
}
