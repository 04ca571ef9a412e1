//! Timing two sides in turn.
//!
//! On a shared machine the speed drifts by more than what is to be measured. Rounds of the two sides
//! alternate, so a drift meets both; who goes first alternates too, so going second is no burden to
//! one of them; and medians leave out the rounds in which somebody else had the processor.

use std::time::{Duration, Instant};

use crate::error::Result;

/// One side's counted rounds, in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples(Vec<f64>);

/// Both sides' rounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// Ours.
    pub ours: Samples,
    /// The peer's.
    pub peer: Samples,
}

impl Samples {
    /// Rounds in the order they were run.
    #[must_use]
    pub const fn new(rounds: Vec<f64>) -> Self {
        Self(rounds)
    }

    /// The median; 0 of no rounds.
    #[must_use]
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let upper = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
        let lower = sorted
            .get(sorted.len().saturating_sub(1) / 2)
            .copied()
            .unwrap_or_default();
        f64::midpoint(lower, upper)
    }
}

impl Pair {
    /// Ratio of the medians, above 1 where ours took less time.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.peer.median() / self.ours.median()
    }

    /// Least and greatest ratio of any one round.
    #[must_use]
    pub fn spread(&self) -> (f64, f64) {
        let rounds = self
            .ours
            .0
            .iter()
            .zip(&self.peer.0)
            .map(|(ours, peer)| peer / ours);
        rounds.fold((f64::INFINITY, 0.0), |(least, most), ratio| {
            (least.min(ratio), most.max(ratio))
        })
    }

    /// How many rounds were counted.
    #[must_use]
    pub const fn rounds(&self) -> usize {
        self.ours.0.len()
    }
}

/// Runs both sides `rounds + 1` times in turn, and forgets the first time. Each side is given the
/// round's number, from 0, and returns what it took: what it does to make ready is not counted.
///
/// # Errors
/// The first of either side.
pub fn alternate(
    rounds: usize,
    mut ours: impl FnMut(usize) -> Result<Duration>,
    mut peer: impl FnMut(usize) -> Result<Duration>,
) -> Result<Pair> {
    let (mut of_ours, mut of_peer) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        let (a, b) = if round % 2 == 0 {
            let a = ours(round)?;
            (a, peer(round)?)
        } else {
            let b = peer(round)?;
            (ours(round)?, b)
        };
        if round > 0 {
            of_ours.push(a.as_secs_f64());
            of_peer.push(b.as_secs_f64());
        }
    }
    Ok(Pair {
        ours: Samples(of_ours),
        peer: Samples(of_peer),
    })
}

/// How long it takes.
///
/// # Errors
/// Its own.
pub fn timed(work: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn medians() {
        assert_eq!(Samples::new(vec![3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(Samples::new(vec![4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert_eq!(Samples::new(Vec::new()).median(), 0.0);
    }

    #[test]
    fn a_ratio_above_one_means_that_ours_is_faster() {
        let pair = Pair {
            ours: Samples::new(vec![1.0, 2.0]),
            peer: Samples::new(vec![4.0, 2.0]),
        };
        assert_eq!(pair.ratio(), 2.0);
        assert_eq!(pair.spread(), (1.0, 4.0));
    }

    #[test]
    fn sides_alternate_and_the_first_round_is_forgotten() {
        let order = RefCell::new(String::new());
        let side = |name: char| {
            let order = &order;
            move |round: usize| {
                order.borrow_mut().push(name);
                Ok(Duration::from_secs(round as u64))
            }
        };
        let pair = alternate(3, side('o'), side('p')).unwrap();
        assert_eq!(order.into_inner(), "oppooppo");
        assert_eq!(pair.ours, Samples::new(vec![1.0, 2.0, 3.0]));
        assert_eq!(pair.rounds(), 3);
    }
}
