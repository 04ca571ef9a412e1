//! What collections ask of their store, by verb.

use icecore_archive::{BackupSelector, Collection, RequestCounts};
use icecore_mvcc::Timestamp;

use crate::layers::{FULL_END, Files, full, incremental};
use crate::{Place, options};

/// Pages that a store's listing has: 1,000 objects to a page, 5,000 on Azure, all at once locally.
const PAGE: u64 = 1000;

fn later(hours: u64) -> Timestamp {
    Timestamp::from_nanos(FULL_END.nanos() + hours * 3_600_000_000_000)
}

fn only_lists(made: RequestCounts, listings: u64) {
    let others = made.total() - made.list;
    assert_eq!((made.list, others), (listings, 0), "{made:?}");
    // A listing is a request to a page.
    assert!(made.objects_listed < PAGE, "{made:?}");
}

/// Listing fulls with layers reads no object, and looks at none: markers' names say it all.
pub(crate) async fn listings_take_pages_alone(place: &Place) {
    const FULLS: u64 = 3;
    const LAYERS: u64 = 4;
    let collection = Collection::create_or_open(&place.uri("listings"), options())
        .await
        .unwrap();
    for number in 0..FULLS {
        let begun = later(number * 100);
        let entry = full(&collection, begun, &[]).await.unwrap();
        for layer in 1..LAYERS {
            let selector = BackupSelector::Full(entry.path.full().clone());
            let chain = collection.open_chain(&selector).await.unwrap();
            let end = later(number * 100 + layer);
            incremental(&collection, &chain, end, &[]).await.unwrap();
        }
    }
    let before = collection.requests();
    assert_eq!(collection.fulls().await.unwrap().len() as u64, FULLS);
    only_lists(collection.requests() - before, 1);

    let before = collection.requests();
    let chains = collection.chains().await.unwrap();
    let made = collection.requests() - before;
    assert!(
        chains
            .iter()
            .all(|chain| chain.layers().len() as u64 == LAYERS)
    );
    // Which fulls have expired is told among the latest.
    only_lists(made, 2);
    // A marker for each layer, a slot for each incremental, and the marker of each full among the latest.
    assert_eq!(made.objects_listed, FULLS * (2 * LAYERS - 1) + FULLS);

    let before = collection.requests();
    collection
        .open_chain(&BackupSelector::Latest)
        .await
        .unwrap();
    only_lists(collection.requests() - before, 2);
}

pub(crate) async fn a_layer_takes_a_put_for_each_file_and_a_constant(place: &Place) {
    let files = Files::new();
    let small = files.make("small", 100);
    // Of 12 MiB: three parts of at most 5.
    let large = files.make("large", 12 << 20);
    let collection = Collection::create_or_open(&place.uri("puts"), options())
        .await
        .unwrap();
    let made = collection.requests();
    // Is there a marker? If not, files of another collection? Then its own.
    assert_eq!((made.get, made.list, made.put), (1, 1, 1), "{made:?}");
    assert_eq!(made.total(), 3, "{made:?}");
    for (number, count) in [0_usize, 1, 7, 20].into_iter().enumerate() {
        let paths = vec![small.as_path(); count];
        let before = collection.requests();
        let end = later(100 * number as u64);
        let entry = full(&collection, end, &paths).await.unwrap();
        let made = collection.requests() - before;
        // The lock, the manifest, the layer's marker and the full's; a listing that checks, if there is
        // something to check.
        let checks = u64::from(count > 0);
        assert_eq!(made.put, count as u64 + 4, "{made:?}");
        assert_eq!(
            (made.list, made.total()),
            (checks, made.put + checks),
            "{made:?}"
        );

        let selector = BackupSelector::Full(entry.path.full().clone());
        let chain = collection.open_chain(&selector).await.unwrap();
        let before = collection.requests();
        incremental(&collection, &chain, later(100 * number as u64 + 1), &paths)
            .await
            .unwrap();
        let made = collection.requests() - before;
        // The lock, the manifest, the slot and the marker; a look whether the full has its own, and whether
        // retention has closed the chain meanwhile.
        assert_eq!(made.put, count as u64 + 4, "{made:?}");
        let rest = (made.list, made.head, made.total());
        assert_eq!(rest, (checks, 2, made.put + 2 + checks), "{made:?}");
    }
    let before = collection.requests();
    full(&collection, later(1000), &[&large]).await.unwrap();
    let made = collection.requests() - before;
    let parts = (
        made.multipart_create,
        made.multipart_part,
        made.multipart_complete,
    );
    assert_eq!((made.put, parts), (4, (1, 3, 1)), "{made:?}");
    assert_eq!((made.multipart_abort, made.failed), (0, 0), "{made:?}");
}
