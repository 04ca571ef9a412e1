//! The states of a job and what moves it between them. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waits for its turn, for the first time or to go on.
    Pending,
    /// Is at work.
    Running,
    /// Is to pause; ends what it is at first.
    Pausing,
    /// Waits to be resumed. Keeps what it did and what it protects.
    Paused,
    /// Is to be cancelled, or what it holds is being released.
    Cancelling,
    /// Was given up. Holds nothing any more.
    Cancelled,
    /// Did what it was to do.
    Succeeded,
    /// Could not. Holds nothing any more.
    Failed,
}

/// What happens to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobEvent {
    /// The runner takes it up.
    Start,
    /// Somebody wants it to pause.
    Pause,
    /// Somebody wants it to go on.
    Resume,
    /// Somebody gives it up.
    Cancel,
    /// It stopped where it can go on, because it was asked to.
    Stopped,
    /// It stopped where it can go on, because of something that may pass.
    Suspended,
    /// It is done.
    Succeeded,
    /// It failed for good.
    Failed,
    /// The process that ran it is gone, and another one found it.
    Recovered,
}

impl JobState {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Running,
        Self::Pausing,
        Self::Paused,
        Self::Cancelling,
        Self::Cancelled,
        Self::Succeeded,
        Self::Failed,
    ];

    /// The state after an event; `None` where the event has no place.
    ///
    /// A job that was asked to pause or to stop may still come to its end: what it did counts.
    #[must_use]
    pub const fn after(self, event: JobEvent) -> Option<Self> {
        use JobEvent as E;
        Some(match (self, event) {
            (Self::Pending, E::Start) => Self::Running,
            (Self::Pending, E::Pause) => Self::Paused,
            (Self::Running, E::Pause) => Self::Pausing,
            (Self::Paused, E::Resume) => Self::Pending,
            (Self::Pending | Self::Running | Self::Pausing | Self::Paused, E::Cancel) => {
                Self::Cancelling
            }
            // Nobody asked but the process, which ends.
            (Self::Running, E::Stopped) => Self::Pending,
            (Self::Pausing, E::Stopped) => Self::Paused,
            (Self::Cancelling, E::Stopped | E::Failed) => Self::Cancelled,
            (Self::Running | Self::Pausing, E::Suspended) => Self::Paused,
            (Self::Cancelling, E::Suspended) => Self::Cancelled,
            (Self::Running | Self::Pausing | Self::Cancelling, E::Succeeded) => Self::Succeeded,
            (Self::Pending | Self::Running | Self::Pausing | Self::Paused, E::Failed) => {
                Self::Failed
            }
            (Self::Pending | Self::Running, E::Recovered) => Self::Pending,
            (Self::Pausing | Self::Paused, E::Recovered) => Self::Paused,
            (Self::Cancelling, E::Recovered) => Self::Cancelling,
            _ => return None,
        })
    }

    /// Whether nothing can happen to it any more.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Cancelled | Self::Succeeded | Self::Failed)
    }

    /// As it is written and printed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Pausing => "pausing",
            Self::Paused => "paused",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl JobEvent {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Start,
        Self::Pause,
        Self::Resume,
        Self::Cancel,
        Self::Stopped,
        Self::Suspended,
        Self::Succeeded,
        Self::Failed,
        Self::Recovered,
    ];

    /// What an error says could not be done.
    #[must_use]
    pub const fn as_verb(self) -> &'static str {
        match self {
            Self::Start => "started",
            Self::Pause => "paused",
            Self::Resume => "resumed",
            Self::Cancel => "cancelled",
            Self::Stopped | Self::Suspended => "stopped",
            Self::Succeeded => "ended well",
            Self::Failed => "ended with an error",
            Self::Recovered => "taken over",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a job is worth, told from what happened to it alone: another way to the same answer.
    #[derive(Default)]
    struct Told {
        at_work: bool,
        pause_wanted: bool,
        cancel_wanted: bool,
        end: Option<JobState>,
    }

    impl Told {
        fn state(&self) -> JobState {
            match (
                self.end,
                self.cancel_wanted,
                self.at_work,
                self.pause_wanted,
            ) {
                (Some(end), ..) => end,
                (None, true, ..) => JobState::Cancelling,
                (None, false, true, true) => JobState::Pausing,
                (None, false, true, false) => JobState::Running,
                (None, false, false, true) => JobState::Paused,
                (None, false, false, false) => JobState::Pending,
            }
        }

        /// Whether the event has a place; if so it happens.
        fn take(&mut self, event: JobEvent) -> bool {
            let idle = !self.at_work && !self.cancel_wanted;
            let place = self.end.is_none()
                && match event {
                    JobEvent::Start => idle && !self.pause_wanted,
                    JobEvent::Pause => !self.pause_wanted && !self.cancel_wanted,
                    JobEvent::Resume => idle && self.pause_wanted,
                    JobEvent::Cancel => !self.cancel_wanted,
                    JobEvent::Stopped | JobEvent::Suspended | JobEvent::Succeeded => {
                        self.at_work || self.cancel_wanted
                    }
                    JobEvent::Failed | JobEvent::Recovered => true,
                };
            if !place {
                return false;
            }
            match event {
                JobEvent::Start => self.at_work = true,
                JobEvent::Pause => self.pause_wanted = true,
                JobEvent::Resume => self.pause_wanted = false,
                JobEvent::Cancel => self.cancel_wanted = true,
                JobEvent::Succeeded => self.end = Some(JobState::Succeeded),
                JobEvent::Recovered => self.at_work = false,
                JobEvent::Failed | JobEvent::Stopped | JobEvent::Suspended => {
                    self.at_work = false;
                    self.pause_wanted |= event == JobEvent::Suspended;
                    if self.cancel_wanted {
                        self.end = Some(JobState::Cancelled);
                    } else if event == JobEvent::Failed {
                        self.end = Some(JobState::Failed);
                    }
                }
            }
            true
        }
    }

    fn event() -> impl Strategy<Value = JobEvent> {
        prop::sample::select(JobEvent::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn every_sequence_of_events_comes_out_as_told(events in prop::collection::vec(event(), 0..40)) {
            let (mut state, mut told) = (JobState::Pending, Told::default());
            for event in events {
                let before = state;
                let moved = state.after(event);
                prop_assert_eq!(moved.is_some(), told.take(event), "{} and {:?}", before, event);
                state = moved.unwrap_or(state);
                prop_assert_eq!(state, told.state(), "{} and {:?}", before, event);
            }
        }
    }

    #[test]
    fn what_is_over_stays_so() {
        for state in JobState::ALL.into_iter().filter(|state| state.is_over()) {
            for event in JobEvent::ALL {
                assert_eq!(state.after(event), None, "{state} and {event:?}");
            }
        }
    }

    #[test]
    fn every_job_can_come_to_an_end() {
        for state in JobState::ALL.into_iter().filter(|state| !state.is_over()) {
            let cancelled = state.after(JobEvent::Cancel).unwrap_or(state);
            assert_eq!(
                cancelled.after(JobEvent::Stopped),
                Some(JobState::Cancelled),
                "{state}"
            );
        }
    }
}
