use proptest::prelude::*;

use super::*;

#[test]
fn golden_texts() {
    let texts: [(&[u8], &str); 8] = [
        (b"", ""),
        (b"2013-01-01/UA/1545", "2013-01-01/UA/1545"),
        ("Zürich ❄".as_bytes(), "Zürich ❄"),
        (b"a\\b", r"a\\b"),
        (b"\x00\x01\x7f\n", r"\x00\x01\x7f\x0a"),
        (b"\xff\xc3", r"\xff\xc3"),
        (b"\xc2\x85", r"\xc2\x85"),
        (b"\"", "\""),
    ];
    for (bytes, text) in texts {
        assert_eq!(to_text(bytes), text);
        assert_eq!(from_text(text).as_deref(), Ok(bytes));
    }
}

#[test]
fn reading_takes_either_case_and_raw_control_characters() {
    assert_eq!(from_text(r"\xAb").as_deref(), Ok(&[0xAB][..]));
    assert_eq!(from_text("a\tb").as_deref(), Ok(&b"a\tb"[..]));
}

#[test]
fn bad_escapes_are_refused_where_they_stand() {
    for (text, offset) in [
        ("\\", 0),
        (r"ab\n", 2),
        (r"\\\x4", 2),
        (r"\x+1", 0),
        (r"é\xé", 2),
        (r"\X41", 0),
    ] {
        assert_eq!(
            from_text(text),
            Err(Error::TextEscape {
                text: text.to_owned(),
                offset
            }),
            "{text}"
        );
    }
}

#[test]
fn previews_are_short() {
    assert_eq!(preview(&[b'k'; 64]), "k".repeat(64));
    assert_eq!(
        preview(&[b'k'; 65]),
        format!("{}… (65 bytes)", "k".repeat(64))
    );
    assert_eq!(
        preview(&[0; 65_536]),
        format!("{}… (65536 bytes)", "\\x00".repeat(64))
    );
}

proptest! {
    #[test]
    fn round_trip(bytes in prop_oneof![any::<Vec<u8>>(), any::<String>().prop_map(String::into_bytes)]) {
        let text = to_text(&bytes);
        prop_assert!(!text.contains(char::is_control));
        prop_assert_eq!(from_text(&text), Ok(bytes));
    }

    #[test]
    fn reading_never_fails_but_by_an_error(text in r"[\\xX0-9a-fé]{0,12}") {
        if let Ok(bytes) = from_text(&text) {
            prop_assert_eq!(from_text(&to_text(&bytes)), Ok(bytes));
        }
    }
}
