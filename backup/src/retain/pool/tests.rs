use super::*;

const HOUR: u64 = 3_600_000_000_000;

/// That many hours.
fn at(hours: u64) -> Timestamp {
    Timestamp::from_nanos(hours * HOUR)
}

/// One file that was written in hour 10, looked at in hour 100 with a grace of a day.
struct Case {
    id: FileId,
    marked: Option<u64>,
    named: bool,
    held: bool,
    writers: Vec<Timestamp>,
    grace: Duration,
}

impl Case {
    fn new() -> Self {
        Self {
            id: FileId::random(),
            marked: None,
            named: false,
            held: false,
            writers: Vec::new(),
            grace: Duration::from_secs(24 * 3600),
        }
    }

    fn steps(&self) -> Steps {
        let set = |is_in: bool| BTreeSet::from_iter(is_in.then_some(self.id));
        steps(&Facts {
            now: at(100),
            grace: self.grace,
            files: BTreeMap::from([(self.id, at(10))]),
            marks: &BTreeMap::from_iter(self.marked.map(|hour| (self.id, at(hour)))),
            named: &set(self.named),
            held: &set(self.held),
            writers: self.writers.clone(),
        })
    }

    /// What becomes of the file, by the name of the step.
    fn goes_to(&self) -> &'static str {
        let steps = self.steps();
        let all = [
            (&steps.mark, "mark"),
            (&steps.delete, "delete"),
            (&steps.unmark, "unmark"),
            (&steps.wait, "wait"),
        ];
        let mut of_file = all.iter().filter(|(ids, _)| ids.contains(&self.id));
        let found = of_file.next().map_or("stay", |(_, name)| name);
        assert!(of_file.next().is_none(), "in two lists: {steps:?}");
        found
    }
}

#[test]
fn what_is_named_stays_and_loses_its_mark() {
    let mut case = Case::new();
    case.named = true;
    assert_eq!(case.goes_to(), "stay");
    // However old the mark.
    case.marked = Some(11);
    assert_eq!(case.goes_to(), "unmark");
    case.held = true;
    assert_eq!(case.goes_to(), "unmark");
}

#[test]
fn what_nothing_names_is_marked_then_waits_then_goes() {
    let mut case = Case::new();
    assert_eq!(case.goes_to(), "mark");
    case.marked = Some(77);
    assert_eq!(case.goes_to(), "wait");
    assert!(!case.steps().blocked);
    case.marked = Some(76);
    assert_eq!(case.goes_to(), "delete");
}

#[test]
fn what_may_be_of_a_backup_under_way_is_not_marked() {
    let mut case = Case::new();
    case.grace = Duration::from_secs(91 * 3600);
    assert_eq!(case.goes_to(), "stay");
    // One that a chain names that expires is not.
    case.held = true;
    assert_eq!(case.goes_to(), "mark");
}

#[test]
fn what_an_expired_chain_holds_is_marked_and_waits_however_old_the_mark() {
    let mut case = Case::new();
    case.held = true;
    assert_eq!(case.goes_to(), "mark");
    case.marked = Some(11);
    assert_eq!(case.goes_to(), "wait");
}

#[test]
fn who_claimed_before_the_mark_is_waited_for() {
    let mut case = Case::new();
    case.marked = Some(50);
    let second = 1_000_000_000;
    for (claimed, expected) in [
        (at(1), "wait"),
        (at(50), "wait"),
        // Clocks that do not agree.
        (Timestamp::from_nanos(50 * HOUR + 60 * second), "wait"),
        (Timestamp::from_nanos(50 * HOUR + 61 * second), "delete"),
        (at(99), "delete"),
    ] {
        case.writers = vec![at(90), claimed];
        assert_eq!(case.goes_to(), expected, "{claimed}");
        assert_eq!(case.steps().blocked, expected == "wait");
    }
}

#[test]
fn the_mark_of_a_file_that_is_gone_goes() {
    let gone = FileId::random();
    let steps = steps(&Facts {
        now: at(100),
        grace: Duration::ZERO,
        files: BTreeMap::new(),
        marks: &BTreeMap::from([(gone, at(99))]),
        named: &BTreeSet::new(),
        held: &BTreeSet::new(),
        writers: vec![at(1)],
    });
    assert_eq!(
        steps,
        Steps {
            unmark: vec![gone],
            ..Steps::default()
        }
    );
}
