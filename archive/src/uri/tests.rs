use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<CollectionUri> {
    text.parse()
}

#[test]
fn each_form_displays_as_it_was_written() {
    for text in [
        "file:///var/backups",
        "file:///var/back%20ups",
        "memory://test",
        "memory://test/some/prefix",
        "s3://bucket",
        "s3://bucket/a/b",
        "s3://bucket/a?AWS_REGION=eu-west-1&AWS_ENDPOINT=http%3A%2F%2Flocalhost%3A8333",
        "azure://container/a?AZURE_ACCOUNT_NAME=acc&AZURE_ENDPOINT=http%3A%2F%2Flocalhost%3A10000%2Facc",
        "file:///var/backups?COCKROACH_LOCALITY=default",
        "memory://test?COCKROACH_LOCALITY=region%3Dus-east1",
        "s3://bucket/a?AWS_REGION=r&COCKROACH_LOCALITY=region%3Dus%2Czone%3Da",
        "gs://bucket/a/b?AUTH=implicit&GOOGLE_ENDPOINT=https%3A%2F%2Flocalhost",
    ] {
        assert_eq!(parse(text).unwrap().to_string(), text);
    }
    assert_eq!(
        parse("s3://bucket/a/").unwrap(),
        parse("s3://bucket/a").unwrap()
    );
    assert_eq!(
        parse("azure-blob://c/a").unwrap(),
        parse("azure://c/a").unwrap()
    );
}

#[test]
fn local_paths() {
    let uri = parse("file:///var/back%20ups").unwrap();
    assert_eq!(uri.local_path().unwrap().to_str(), Some("/var/back ups"));
    assert_eq!(
        CollectionUri::from_local_path("/var/back ups").unwrap(),
        uri
    );
    assert!(CollectionUri::from_local_path("relative").is_err());
    // As a URI these would be read as other directories, or as none.
    for path in ["/", "/a/../b"] {
        let refused = CollectionUri::from_local_path(path);
        assert!(
            matches!(refused, Err(Error::InvalidUri { .. })),
            "{path}: {refused:?}"
        );
    }
    assert_eq!(parse("memory://x").unwrap().local_path(), None);
}

#[test]
fn every_refusal() {
    for (text, error) in [
        (
            "",
            "'' is not a collection URI: it must look like file:///path, memory://name, s3://bucket/prefix, azure://container/prefix or gs://bucket/prefix",
        ),
        (
            "/var/backups",
            "'/var/backups' is not a collection URI: it must look like file:///path, memory://name, s3://bucket/prefix, azure://container/prefix or gs://bucket/prefix",
        ),
        (
            "s3://back\nups/a",
            "'s3://back\nups/a' is not a collection URI: it has a line break, a tab or another control character in it; one that belongs there is written %0A, %09 and so on",
        ),
        (
            "http://b/p?x=CANARY",
            "'http://b/p' is not a collection URI: unknown scheme 'http'; known are file, memory, s3, azure and gs",
        ),
        (
            "file://var/backups",
            "'file://var/backups' is not a collection URI: a local path takes three slashes: file:///absolute/path",
        ),
        (
            "file:///",
            "'file:///' is not a collection URI: a collection needs a directory of its own, not the root",
        ),
        (
            "file:///a?b=CANARY",
            "unknown parameter 'b' in 'file:///a'; file takes none",
        ),
        (
            "file:///a#b",
            "'file:///a' is not a collection URI: a '#' in it must be written %23",
        ),
        (
            "memory://",
            "'memory://' is not a collection URI: it needs a name: memory://name",
        ),
        (
            "s3:///p",
            "'s3:///p' is not a collection URI: it needs a bucket: s3://bucket/prefix",
        ),
        (
            "s3://key:CANARY@b/p",
            "'s3://b/p' is not a collection URI: user names and passwords go into parameters",
        ),
        (
            "s3://b/a//c",
            "'s3://b/a//c' is not a collection URI: its path has an empty segment, or one of dots alone",
        ),
        (
            "s3://b?AWS_REGIO=CANARY",
            "unknown parameter 'AWS_REGIO' in 's3://b'; s3 knows AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT",
        ),
        (
            "s3://b?AWS_REGION=",
            "'s3://b' is not a collection URI: parameter 'AWS_REGION' is empty",
        ),
        (
            "s3://b?AWS_REGION=a&AWS_REGION=b",
            "'s3://b' is not a collection URI: parameter 'AWS_REGION' is given twice",
        ),
        (
            "s3://b?AWS_ACCESS_KEY_ID=CANARY",
            "'s3://b' is not a collection URI: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together",
        ),
        (
            "s3://b?AWS_SESSION_TOKEN=CANARY",
            "'s3://b' is not a collection URI: AWS_SESSION_TOKEN goes with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
        (
            "s3://b?AWS_ENDPOINT=ftp://CANARY",
            "'s3://b' is not a collection URI: AWS_ENDPOINT must begin with https:// or http:// and name a host",
        ),
        (
            "s3://b?AWS_ENDPOINT=http://u:CANARY@h",
            "'s3://b' is not a collection URI: AWS_ENDPOINT may hold a host, a port and a path only",
        ),
        (
            "s3://b?AWS_ENDPOINT=CANARY",
            "'s3://b' is not a collection URI: AWS_ENDPOINT is not a URL",
        ),
        (
            "azure:///p",
            "'azure:///p' is not a collection URI: it needs a container: azure://container/prefix",
        ),
        (
            "azure://c?AWS_REGION=CANARY",
            "unknown parameter 'AWS_REGION' in 'azure://c'; azure knows AZURE_ACCOUNT_NAME, AZURE_ACCOUNT_KEY, AZURE_SAS_TOKEN, AZURE_CLIENT_ID, AZURE_CLIENT_SECRET, AZURE_TENANT_ID, AZURE_ENDPOINT",
        ),
        (
            "azure://c?AZURE_CLIENT_ID=i&AZURE_CLIENT_SECRET=CANARY",
            "'azure://c' is not a collection URI: AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and AZURE_TENANT_ID go together",
        ),
        (
            "azure://c?AZURE_ACCOUNT_KEY=CANARY&AZURE_SAS_TOKEN=CANARY",
            "'azure://c' is not a collection URI: AZURE_ACCOUNT_KEY, AZURE_SAS_TOKEN and AZURE_CLIENT_ID exclude each other",
        ),
        (
            "azure://c?AZURE_ENDPOINT=https://h?sig%3DCANARY",
            "'azure://c' is not a collection URI: AZURE_ENDPOINT may hold a host, a port and a path only",
        ),
        (
            "gs://",
            "'gs://' is not a collection URI: it needs a bucket: gs://bucket/prefix",
        ),
        (
            "gs://b?AUTH=CANARY",
            "'gs://b' is not a collection URI: AUTH is either 'implicit' or 'specified'",
        ),
        (
            "gs://b?AUTH=specified",
            "'gs://b' is not a collection URI: AUTH=specified needs CREDENTIALS or BEARER_TOKEN",
        ),
        (
            "gs://b?AUTH=implicit&BEARER_TOKEN=CANARY",
            "'gs://b' is not a collection URI: AUTH=implicit takes neither CREDENTIALS nor BEARER_TOKEN",
        ),
        (
            "gs://b?CREDENTIALS=CANARY&BEARER_TOKEN=CANARY",
            "'gs://b' is not a collection URI: CREDENTIALS and BEARER_TOKEN exclude each other",
        ),
        (
            "gs://b?x=CANARY",
            "unknown parameter 'x' in 'gs://b'; gs knows AUTH, CREDENTIALS, BEARER_TOKEN, GOOGLE_ENDPOINT",
        ),
        (
            "s3://b?COCKROACH_LOCALITY=CANARY",
            "'s3://b' is not a collection URI: COCKROACH_LOCALITY is neither 'default' nor tags such as region=us,zone=a, percent-encoded",
        ),
        (
            "file:///a?COCKROACH_LOCALITY=default&COCKROACH_LOCALITY=a%3Db",
            "'file:///a' is not a collection URI: parameter 'COCKROACH_LOCALITY' is given twice",
        ),
    ] {
        let found = parse(text).unwrap_err().to_string();
        assert_eq!(found, error, "{text}");
        assert!(!found.contains("CANARY"));
    }
}

#[test]
fn no_form_shows_a_credential() {
    for (text, kept) in [
        (
            "s3://b/p?AWS_ACCESS_KEY_ID=CANARY1&AWS_SECRET_ACCESS_KEY=CANARY2&AWS_SESSION_TOKEN=CANARY3&AWS_REGION=r",
            "AWS_SECRET_ACCESS_KEY=redacted",
        ),
        (
            "azure://c/p?AZURE_ACCOUNT_NAME=a&AZURE_ACCOUNT_KEY=CANARY",
            "AZURE_ACCOUNT_NAME=a&AZURE_ACCOUNT_KEY=redacted",
        ),
        (
            "azure://c?AZURE_SAS_TOKEN=sv%3D1%26sig%3DCANARY",
            "AZURE_SAS_TOKEN=redacted",
        ),
        (
            "azure://c?AZURE_CLIENT_ID=i&AZURE_CLIENT_SECRET=CANARY&AZURE_TENANT_ID=t",
            "AZURE_CLIENT_ID=i&AZURE_CLIENT_SECRET=redacted&AZURE_TENANT_ID=t",
        ),
        (
            "gs://b?AUTH=specified&CREDENTIALS=CANARY",
            "AUTH=specified&CREDENTIALS=redacted",
        ),
        ("gs://b?BEARER_TOKEN=CANARY", "BEARER_TOKEN=redacted"),
    ] {
        let uri = parse(text).unwrap();
        for shown in [format!("{uri}"), format!("{uri:?}"), format!("{uri:#?}")] {
            assert!(!shown.contains("CANARY"), "{shown}");
            assert!(shown.contains(kept), "{shown}");
        }
    }
}

#[test]
fn no_refusal_shows_a_password_wherever_it_was_put() {
    for (text, place) in [
        ("s3:/key:CANARY@b/p", "s3:/b/p"),
        ("s3:key:CANARY@b/p", "s3:b/p"),
        ("key:CANARY@b/p", "key:b/p"),
        ("s3://key:CAN/CANARY@b/p", "s3://b/p"),
        ("s3://key:CANARY@x/CANARY@b/p", "s3://b/p"),
        ("s3://key:CANARY?CANARY@b/p", "s3://…"),
        ("s3://key:CANARY@x?CANARY@b/p", "s3://…"),
        ("s3://key:CANARY#CANARY@b/p", "s3://…"),
        ("s3://key:/CANARY@b/p", "s3://b/p"),
        ("s3://key:123/CANARY@b/p", "s3://b/p"),
        ("s3://key:1?CANARY@b/p", "s3://…"),
        ("memory://key:1/CANARY@b", "memory://b"),
    ] {
        let refusal = parse(text).unwrap_err().to_string();
        assert!(!refusal.contains("CANARY"), "{text}: {refusal}");
        assert!(
            refusal.starts_with(&format!("'{place}' is not")),
            "{text}: {refusal}"
        );
    }
    let refusal = parse("s3://bucket:9000/p").unwrap_err().to_string();
    assert!(
        refusal.contains("'s3://bucket:9000/p'") && refusal.contains("AWS_ENDPOINT"),
        "{refusal}"
    );
    // An '@' in a path is no password's.
    let refusal = parse("s3://b/me@home//p").unwrap_err().to_string();
    assert!(
        refusal.starts_with("'s3://b/me@home//p' is not"),
        "{refusal}"
    );
}

#[test]
fn what_a_prefix_holds_is_not_mistaken_for_the_rest_of_a_uri() {
    for text in [
        "s3://b/a%3Fb",
        "s3://b/a%23b",
        "s3://b/a%25b",
        "s3://b/a%2541",
        "memory://m/a%5Cb",
        "memory://m/%20a%20",
    ] {
        let uri = parse(text).unwrap();
        assert_eq!(uri.to_string(), text);
        assert_eq!(parse(&uri.to_string()).as_ref(), Ok(&uri));
    }
    assert_eq!(parse("s3://b/%61é").unwrap().to_string(), "s3://b/aé");
}

#[test]
fn a_uri_says_whether_a_secret_is_in_it() {
    for secret in [
        "s3://b/p?AWS_ACCESS_KEY_ID=CANARY&AWS_SECRET_ACCESS_KEY=CANARY",
        "azure://c?AZURE_ACCOUNT_NAME=a&AZURE_SAS_TOKEN=CANARY",
        "azure://c?AZURE_ACCOUNT_NAME=a&AZURE_CLIENT_ID=i&AZURE_CLIENT_SECRET=CANARY&AZURE_TENANT_ID=t",
    ] {
        assert!(parse(secret).unwrap().has_credentials(), "{secret}");
    }
    for bare in [
        "s3://b/p?AWS_REGION=r",
        "azure://c?AZURE_ACCOUNT_NAME=a",
        "gs://b/p",
        "file:///a",
        "memory://m",
    ] {
        assert!(!parse(bare).unwrap().has_credentials(), "{bare}");
    }
}

#[test]
fn messages_name_a_collection_without_its_credentials() {
    let uri = parse("s3://b/p?AWS_ACCESS_KEY_ID=CANARY&AWS_SECRET_ACCESS_KEY=CANARY&AWS_REGION=r")
        .unwrap();
    assert_eq!(uri.without_credentials(), "s3://b/p?AWS_REGION=r");
    for (text, bare) in [
        (
            "azure://c/p?AZURE_ACCOUNT_NAME=a&AZURE_CLIENT_ID=i&AZURE_CLIENT_SECRET=CANARY&AZURE_TENANT_ID=t",
            "azure://c/p?AZURE_ACCOUNT_NAME=a",
        ),
        ("gs://b?AUTH=specified&BEARER_TOKEN=CANARY", "gs://b"),
    ] {
        let bare_uri = parse(text).unwrap().without_credentials();
        assert_eq!(bare_uri, bare);
        assert!(parse(&bare_uri).is_ok());
    }
    assert_eq!(
        parse("file:///a").unwrap().without_credentials(),
        "file:///a"
    );
}

proptest! {
    #[test]
    fn no_text_panics_and_what_parses_reads_back(text in ".{0,40}|(file|memory|s3|azure|gs)://[ -~]{0,30}") {
        if let Ok(uri) = parse(&text) {
            prop_assert_eq!(parse(&uri.to_string()).map(|again| again.to_string()), Ok(uri.to_string()));
        }
    }
}
