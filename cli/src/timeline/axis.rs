//! The time axis: from times to pixels, and where its ticks stand.

use icecore_mvcc::Timestamp;

/// Nanoseconds between ticks, of which the smallest is taken that leaves room for labels.
const STEPS: [u64; 36] = {
    const US: u64 = 1_000;
    const MS: u64 = 1_000_000;
    const S: u64 = 1_000_000_000;
    const M: u64 = 60 * S;
    const H: u64 = 60 * M;
    const D: u64 = 24 * H;
    [
        US,
        10 * US,
        100 * US,
        MS,
        2 * MS,
        5 * MS,
        10 * MS,
        20 * MS,
        50 * MS,
        100 * MS,
        200 * MS,
        500 * MS,
        S,
        2 * S,
        5 * S,
        10 * S,
        30 * S,
        M,
        2 * M,
        5 * M,
        10 * M,
        30 * M,
        H,
        2 * H,
        3 * H,
        6 * H,
        12 * H,
        D,
        2 * D,
        5 * D,
        10 * D,
        30 * D,
        90 * D,
        365 * D,
        1_825 * D,
        7_300 * D,
    ]
};

/// The most ticks: their labels need about 90 pixels each.
const TICKS_MAX: u64 = 10;

pub(super) struct Axis {
    from: Timestamp,
    until: Timestamp,
    left: f64,
    right: f64,
    step: u64,
}

impl Axis {
    /// An axis that has all those times on it; at least a microsecond long.
    pub(super) fn new(times: impl Iterator<Item = Timestamp>, left: f64, right: f64) -> Self {
        let (mut from, mut until) = (Timestamp::MAX, Timestamp::MIN);
        for time in times {
            (from, until) = (from.min(time), until.max(time));
        }
        let (from, until) = (from.min(until), until);
        // A little room on both sides, so that what stands at the ends can be seen.
        let length = until.nanos().saturating_sub(from.nanos()).max(1_000);
        let room = length / 50 + 1;
        let from = Timestamp::from_nanos(from.nanos().saturating_sub(room));
        let until = Timestamp::from_nanos(until.nanos().saturating_add(room));
        let length = until.nanos().saturating_sub(from.nanos());
        let step = STEPS
            .iter()
            .copied()
            .find(|step| length / step <= TICKS_MAX);
        Self {
            from,
            until,
            left,
            right,
            step: step.unwrap_or((length / TICKS_MAX).max(1)),
        }
    }

    pub(super) fn ends(&self) -> (Timestamp, Timestamp) {
        (self.from, self.until)
    }

    /// Where a time stands; at an end of the axis what lies beyond.
    pub(super) fn x(&self, time: Timestamp) -> f64 {
        let time = time.clamp(self.from, self.until);
        let length = self.until.nanos().saturating_sub(self.from.nanos()) as f64;
        let at = time.nanos().saturating_sub(self.from.nanos()) as f64;
        self.left + (self.right - self.left) * at / length.max(1.0)
    }

    /// The times of the ticks: round ones, in UTC.
    pub(super) fn ticks(&self) -> impl Iterator<Item = Timestamp> {
        let step = self.step;
        let first = self.from.nanos().div_ceil(step).saturating_mul(step);
        let until = self.until.nanos();
        (0..=TICKS_MAX)
            .map_while(move |number| first.checked_add(number * step))
            .filter(move |nanos| *nanos <= until)
            .map(Timestamp::from_nanos)
    }

    /// The day and the time of day, as precise as the ticks are.
    pub(super) fn label(&self, tick: Timestamp) -> (String, String) {
        let text = tick.to_string();
        let (day, clock) = text.split_once('T').unwrap_or((&text, ""));
        let digits = match self.step {
            step if step >= 86_400_000_000_000 => return (String::new(), day.to_owned()),
            step if step >= 60_000_000_000 => "HH:MM".len(),
            step if step >= 1_000_000_000 => "HH:MM:SS".len(),
            step if step >= 1_000_000 => "HH:MM:SS.mmm".len(),
            _ => "HH:MM:SS.uuuuuu".len(),
        };
        (
            day.to_owned(),
            clock.get(..digits).unwrap_or(clock).to_owned(),
        )
    }
}

/// A time without its fraction and zone, for a sentence that names the zone.
pub(super) fn to_the_second(time: Timestamp) -> String {
    let text = time.to_string();
    text.get(..19).unwrap_or(&text).replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_of_time_has_some_ticks_and_not_too_many() {
        let begin = 1_644_422_020_130_000_000_u64;
        for exponent in 0..19 {
            for factor in [1, 3, 7] {
                let length = 10_u64.pow(exponent).saturating_mul(factor);
                let ends = [begin, begin.saturating_add(length)].map(Timestamp::from_nanos);
                let axis = Axis::new(ends.into_iter(), 0.0, 1000.0);
                let ticks: Vec<Timestamp> = axis.ticks().collect();
                assert!((1..=11).contains(&ticks.len()), "{length}: {}", ticks.len());
                assert!(
                    ends.iter()
                        .all(|end| (0.0..=1000.0).contains(&axis.x(*end)))
                );
                assert!(axis.x(ends[0]) < axis.x(ends[1]), "{length}");
            }
        }
        let none = Axis::new(std::iter::empty(), 0.0, 1000.0);
        assert!(none.x(Timestamp::MAX) <= 1000.0);
    }

    #[test]
    fn ticks_are_round_and_their_labels_as_precise_as_they_are() {
        let axis = |seconds: u64| {
            let begin = 1_644_422_020_130_000_000;
            let ends = [begin, begin + seconds * 1_000_000_000].map(Timestamp::from_nanos);
            Axis::new(ends.into_iter(), 0.0, 1000.0)
        };
        let labels = |seconds| -> Vec<String> {
            let axis = axis(seconds);
            axis.ticks()
                .take(2)
                .map(|tick| axis.label(tick).1)
                .collect()
        };
        assert_eq!(labels(4), ["15:53:40.500", "15:53:41.000"]);
        assert_eq!(labels(60), ["15:53:40", "15:53:50"]);
        assert_eq!(labels(3600), ["16:00", "16:10"]);
        assert_eq!(labels(5 * 86_400), ["00:00", "12:00"]);
        // Every five days since 1970.
        assert_eq!(labels(30 * 86_400), ["2022-02-12", "2022-02-17"]);
    }
}
