use std::io::{Read, Write};
use std::net::TcpListener;

use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::*;
use crate::store::settings::guide;

const BUCKET: Bucket<'static> = Bucket {
    location: "s3://b",
    name: "b",
    prefix: "p",
};

fn parameters(given: &[(&'static str, &str)]) -> Parameters {
    let mut parameters = Parameters::default();
    for (name, value) in given {
        assert_eq!(
            parameters.take(Service::S3, name, (*value).to_owned()),
            Ok(true)
        );
    }
    parameters
}

fn combined(
    uri: &[(&'static str, &str)],
    environment: &[(&str, &str)],
) -> Settings<AmazonS3ConfigKey> {
    let environment = environment.iter();
    let environment = environment.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::combine(given(&parameters(uri)), environment)
}

const ENVIRONMENT: [(&str, &str); 7] = [
    ("AWS_ACCESS_KEY_ID", "env-id"),
    ("AWS_SECRET_ACCESS_KEY", "env-secret"),
    ("AWS_SESSION_TOKEN", "env-token"),
    ("AWS_REGION", "env-region"),
    ("AWS_ENDPOINT_URL_S3", "https://env.example"),
    ("AWS_UNKNOWN_THING", "x"),
    ("HOME", "/root"),
];

#[test]
fn the_environment_serves_where_the_uri_is_silent() {
    let found = combined(&[], &ENVIRONMENT);
    assert_eq!(found.last(AmazonS3ConfigKey::AccessKeyId), Some("env-id"));
    assert_eq!(found.last(AmazonS3ConfigKey::Region), Some("env-region"));
    assert_eq!(
        found.redactor().clean("env-id env-secret env-token"),
        "redacted redacted redacted"
    );
}

#[test]
fn credentials_of_the_uri_are_not_mixed_with_those_of_the_environment() {
    let uri = [
        ("AWS_ACCESS_KEY_ID", "uri-id"),
        ("AWS_SECRET_ACCESS_KEY", "uri-secret"),
        ("AWS_ENDPOINT", "http://uri.example"),
    ];
    let found = combined(&uri, &ENVIRONMENT);
    assert_eq!(found.last(AmazonS3ConfigKey::AccessKeyId), Some("uri-id"));
    assert_eq!(found.last(AmazonS3ConfigKey::Token), None);
    assert_eq!(found.last(AmazonS3ConfigKey::Region), Some("env-region"));
    assert_eq!(found.last(AmazonS3ConfigKey::S3Endpoint), None);
    let endpoint = found.last(AmazonS3ConfigKey::Endpoint);
    assert_eq!(endpoint, Some("http://uri.example"));
    assert_eq!(
        found.redactor().clean("uri-id uri-secret env-id"),
        "redacted redacted env-id"
    );
}

#[test]
fn the_guide_lists_what_is_read_and_what_is_not() {
    let unread: Vec<&str> = PROFILE_VARIABLES
        .iter()
        .chain(&TRUST_VARIABLES)
        .copied()
        .collect();
    guide::compare::<AmazonS3ConfigKey>("S3", &unread);
}

#[test]
fn a_profile_is_told_to_be_ignored_where_no_key_is_given() {
    let all = |_: &str| true;
    assert_eq!(unread(&combined(&[], &[]), all).len(), 4);
    let with_key = combined(&[], &ENVIRONMENT);
    assert_eq!(unread(&with_key, all), ["AWS_CA_BUNDLE"]);
    assert!(unread(&with_key, |_| false).is_empty());
}

#[test]
fn small_parts_are_refused() {
    let options = StoreOptions {
        part_bytes: 1 << 20,
        ..StoreOptions::default()
    };
    let error = open(&BUCKET, &combined(&[], &[]), &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid store options: part_bytes is 1048576, S3 takes no less than 5242880"
    );
}

/// Bug: the client's options replaced those of the environment, the proxy among them.
#[tokio::test(flavor = "multi_thread")]
async fn requests_go_through_the_proxy_of_the_environment() {
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = proxy.local_addr().unwrap();
    let seen = std::thread::spawn(move || {
        let (mut stream, _) = proxy.accept().unwrap();
        let mut request = [0; 4096];
        let read = stream.read(&mut request).unwrap();
        let answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(answer).unwrap();
        String::from_utf8_lossy(request.get(..read).unwrap()).into_owned()
    });
    let settings = combined(
        &[],
        &[
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_ENDPOINT", "http://store.invalid"),
            ("AWS_PROXY_URL", &format!("http://user:CANARY@{address}")),
        ],
    );
    let store = open(&BUCKET, &settings, &StoreOptions::default()).unwrap();
    let missing = store.get(&Path::from("x")).await.unwrap_err();
    assert!(matches!(missing, object_store::Error::NotFound { .. }));
    let request = seen.join().unwrap();
    assert!(
        request.starts_with("GET http://store.invalid/b/p/x HTTP/1.1\r\n"),
        "{request}"
    );
    let told = settings
        .redactor()
        .clean(&format!("http://user:CANARY@{address} CANARY"));
    assert!(!told.contains("CANARY"), "{told}");
}
