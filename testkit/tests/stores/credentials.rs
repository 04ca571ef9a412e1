//! Who is asking.

use icecore_archive::{Collection, CollectionUri, Error};
use icecore_testkit::servers::Service;

use crate::{Place, options};

/// A stranger, and one who knows a name but not what goes with it.
pub(crate) async fn wrong_ones_are_refused_without_being_shown(place: &Place) {
    let Some(store) = place.real() else {
        return;
    };
    let known = |name: &str| store.parameter(name).unwrap_or_else(|| "none".to_owned());
    // What is asked with, and what of it must not be shown.
    let asked: Vec<(String, String)> = match store.service() {
        Service::S3 => ["CANARYKEYID".to_owned(), known("AWS_ACCESS_KEY_ID")]
            .map(|id| {
                let asked = format!("AWS_ACCESS_KEY_ID={id}&AWS_SECRET_ACCESS_KEY=CANARY%2FSECRET");
                (asked, id)
            })
            .into(),
        Service::Azure => {
            let key = "CANARY".repeat(10) + "AAAA";
            let sas = "sv%3D2021-12-02%26ss%3Db%26srt%3Dsco%26sp%3Drwl%26se%3D2100-01-01T00%253A00%253A00Z%26sig%3DCANARY%252FSECRET";
            vec![
                (format!("AZURE_ACCOUNT_KEY={key}"), key),
                (format!("AZURE_SAS_TOKEN={sas}"), "SECRET".to_owned()),
            ]
        }
        Service::Gcs => vec![(
            "BEARER_TOKEN=CANARYTOKEN".to_owned(),
            "CANARYTOKEN".to_owned(),
        )],
    };
    let (at, rest) = (
        store.place("denied"),
        store.parameters_without_credentials(),
    );
    for (asked, secret) in asked {
        let uri: CollectionUri = format!("{at}?{asked}&{rest}").parse().unwrap();
        let error = Collection::create_or_open(&uri, options())
            .await
            .unwrap_err();
        assert!(matches!(error, Error::AccessDenied { .. }), "{error}");
        for told in [error.to_string(), format!("{error:?} {uri} {uri:?}")] {
            assert!(
                !told.contains("CANARY") && !told.contains(&secret),
                "{told}"
            );
        }
    }
}
