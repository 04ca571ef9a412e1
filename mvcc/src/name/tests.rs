use proptest::prelude::*;

use super::*;

fn name(text: &str) -> KeyspaceName {
    KeyspaceName::parse(text).unwrap()
}

fn matches(pattern: &str, text: &str) -> bool {
    NamePattern::parse(pattern).unwrap().matches(text)
}

#[test]
fn a_name_is_a_database_and_a_last_segment() {
    for (text, database, last) in [
        ("bank.customers", "bank", "customers"),
        ("audit", "", "audit"),
        ("bank.eu.cards-2_x", "bank.eu", "cards-2_x"),
    ] {
        assert_eq!(
            (name(text).database(), name(text).last_segment()),
            (database, last)
        );
        assert_eq!(name(text).to_string(), text);
        assert_eq!(text.parse(), Ok(name(text)));
        assert_eq!(name(text).as_ref(), text);
    }
}

#[test]
fn moving_to_another_database_keeps_the_last_segment() {
    assert_eq!(
        name("bank.customers").in_database("copy"),
        Ok(name("copy.customers"))
    );
    assert_eq!(
        name("audit").in_database("copy.of"),
        Ok(name("copy.of.audit"))
    );
    assert_eq!(
        name("bank.customers").in_database(""),
        Ok(name("customers"))
    );
    assert_eq!(
        name("bank.customers").in_database("a b"),
        Err(Error::NameSyntax {
            name: "a b.customers".to_owned()
        })
    );
    let long = name("customers").in_database(&"d".repeat(MAX_NAME_BYTES));
    assert!(
        matches!(long, Err(Error::NameTooLong { bytes: 138, .. })),
        "{long:?}"
    );
}

#[test]
fn other_names_are_refused() {
    for text in [
        "", ".", "a.", ".a", "a..b", "a b", "a/b", "*", "bank.*", "é", "a\n", "a\\b",
    ] {
        assert_eq!(
            KeyspaceName::parse(text),
            Err(Error::NameSyntax {
                name: text.to_owned()
            }),
            "{text}"
        );
    }
    assert!(KeyspaceName::parse(&"n".repeat(MAX_NAME_BYTES)).is_ok());
    let error = Error::NameTooLong {
        name: format!("{}…", "n".repeat(32)),
        bytes: MAX_NAME_BYTES + 1,
    };
    assert_eq!(
        KeyspaceName::parse(&"n".repeat(MAX_NAME_BYTES + 1)),
        Err(error)
    );
}

#[test]
fn patterns_choose() {
    assert!(matches("*", "audit") && matches("*", "bank.customers"));
    assert!(matches("bank.*", "bank.customers") && matches("bank.*", "bank.eu.cards"));
    assert!(
        !matches("bank.*", "bank")
            && !matches("bank.*", "banks.a")
            && !matches("bank.*", "eu.bank.a")
    );
    assert!(matches("bank.eu.*", "bank.eu.cards") && !matches("bank.eu.*", "bank.us.cards"));
    assert!(
        matches("bank.customers", "bank.customers")
            && !matches("bank.customers", "bank.customers2")
    );
}

#[test]
fn other_patterns_are_refused() {
    for text in ["", "**", "*.a", "a.*.b", "a*", "bank.**", ".*", "a..*"] {
        assert_eq!(
            NamePattern::parse(text),
            Err(Error::PatternSyntax {
                pattern: text.to_owned()
            }),
            "{text}"
        );
    }
    assert!(matches!(
        NamePattern::parse(&"n".repeat(200)),
        Err(Error::NameTooLong { bytes: 200, .. })
    ));
}

proptest! {
    #[test]
    fn round_trip(text in r"[A-Za-z0-9_-]{1,8}(\.[A-Za-z0-9_-]{1,8}){0,3}") {
        let name = name(&text);
        prop_assert_eq!(name.as_str(), &text);
        prop_assert_eq!(name.in_database(name.database()), Ok(name.clone()));
        for pattern in ["*".to_owned(), format!("{text}.*"), text.clone()] {
            let parsed = NamePattern::parse(&pattern);
            prop_assert_eq!(parsed.map(|parsed| parsed.to_string()), Ok(pattern));
        }
        prop_assert_eq!(text.parse(), Ok(NamePattern::Exact(name)));
    }

    #[test]
    fn a_database_pattern_matches_what_lies_in_it(
        database in r"[ab](\.[ab]){0,2}", other in r"[ab](\.[ab]){0,4}",
    ) {
        let segments: Vec<_> = other.split('.').collect();
        let inside = (1..segments.len()).any(|count| segments[..count].join(".") == database);
        prop_assert_eq!(matches(&format!("{database}.*"), &other), inside);
    }
}
