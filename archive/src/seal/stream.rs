//! Sealing and opening as bytes go by, one chunk in memory at a time.

use std::io::{self, Read};
use std::sync::Arc;

use super::object::{
    Broken, Chunks, HEADER_BYTES, Header, Role, TAG_BYTES, sealed_bytes, tampered,
};
use super::secret::{CollectionKey, OBJECT_ID_BYTES};
use crate::error::Result;

/// Reads as the sealed form of what another reader gives.
pub(crate) struct SealingReader<R> {
    inner: R,
    chunks: Chunks,
    /// The next chunk to seal.
    next: u64,
    /// Sealed bytes to hand out, from `handed_out` on.
    ready: Vec<u8>,
    handed_out: usize,
}

impl<R: Read> SealingReader<R> {
    /// Seals the next so many bytes of `inner`, for that role and place. The id must be new and random.
    pub(crate) fn new(
        key: &CollectionKey,
        id: [u8; OBJECT_ID_BYTES],
        role: Role,
        place: &str,
        inner: R,
        plain_bytes: u64,
    ) -> Result<Self> {
        let header = Header {
            role,
            id,
            plain_bytes,
        };
        Ok(Self {
            inner,
            chunks: Chunks::new(key, &header, place)?,
            next: 0,
            ready: header.encode().to_vec(),
            handed_out: 0,
        })
    }

    /// What is sealed, for a look behind its end.
    pub(crate) const fn inner(&mut self) -> &mut R {
        &mut self.inner
    }

    fn seal_next(&mut self) -> io::Result<()> {
        self.ready.clear();
        self.handed_out = 0;
        self.ready.resize(self.chunks.plain_bytes_of(self.next), 0);
        self.inner.read_exact(&mut self.ready)?;
        let tag = self.chunks.seal(self.next, &mut self.ready);
        let tag = tag.ok_or_else(|| io::Error::other("it is too long to be sealed"))?;
        self.ready.extend_from_slice(tag.as_ref());
        self.next += 1;
        Ok(())
    }
}

impl<R: Read> Read for SealingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.handed_out == self.ready.len() && self.next < self.chunks.count() {
            self.seal_next()?;
        }
        let mut left = self.ready.get(self.handed_out..).unwrap_or_default();
        let bytes = left.read(buffer)?;
        self.handed_out += bytes;
        Ok(bytes)
    }
}

/// Opens a sealed object whose bytes arrive in pieces of any size. Hands out what is authentic alone.
pub(crate) struct Opener {
    key: Arc<CollectionKey>,
    role: Role,
    place: String,
    sealed_bytes: u64,
    /// What has arrived of the header, then of the next chunk.
    arrived: Vec<u8>,
    /// Known from the header on.
    chunks: Option<Chunks>,
    next: u64,
}

impl Opener {
    /// Of an object of that size, for that role and place.
    pub(crate) const fn new(
        key: Arc<CollectionKey>,
        role: Role,
        place: String,
        sealed_bytes: u64,
    ) -> Self {
        Self {
            key,
            role,
            place,
            sealed_bytes,
            arrived: Vec::new(),
            chunks: None,
            next: 0,
        }
    }

    /// Takes the next bytes; hands each chunk that they complete to `sink`.
    pub(crate) fn take<E: From<Broken>>(
        &mut self,
        mut bytes: &[u8],
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        loop {
            let missing = self.wanted().saturating_sub(self.arrived.len());
            let (now, later) = bytes.split_at(missing.min(bytes.len()));
            self.arrived.extend_from_slice(now);
            bytes = later;
            if now.len() < missing {
                return Ok(());
            }
            if missing == 0 && self.is_done() {
                return match bytes {
                    [] => Ok(()),
                    _ => Err(tampered("it goes on after its end").into()),
                };
            }
            self.complete(sink)?;
        }
    }

    /// Checks that all of it was there.
    pub(crate) fn finish(&self) -> Result<(), Broken> {
        if self.is_done() {
            Ok(())
        } else {
            Err(tampered("it ends too early"))
        }
    }

    fn is_done(&self) -> bool {
        self.chunks
            .as_ref()
            .is_some_and(|chunks| self.next >= chunks.count())
    }

    /// Bytes of the header, or of the next chunk with its tag; none after the last.
    fn wanted(&self) -> usize {
        match &self.chunks {
            None => HEADER_BYTES,
            Some(chunks) if self.next < chunks.count() => {
                chunks.plain_bytes_of(self.next) + TAG_BYTES
            }
            Some(_) => 0,
        }
    }

    /// The header or a chunk is there.
    fn complete<E: From<Broken>>(
        &mut self,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match &self.chunks {
            None => self.chunks = Some(self.read_header()?),
            Some(chunks) => {
                sink(chunks.open(self.next, &mut self.arrived)?)?;
                self.next += 1;
            }
        }
        self.arrived.clear();
        Ok(())
    }

    fn read_header(&mut self) -> Result<Chunks, Broken> {
        let header: &[u8; HEADER_BYTES] = self
            .arrived
            .first_chunk()
            .ok_or_else(|| tampered("its header is short"))?;
        let header = Header::decode(header, self.role)?;
        if sealed_bytes(header.plain_bytes) != self.sealed_bytes {
            return Err(tampered(format!(
                "it has {} bytes where its header says {}",
                self.sealed_bytes,
                sealed_bytes(header.plain_bytes)
            )));
        }
        Chunks::new(&self.key, &header, &self.place).map_err(|error| tampered(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::CollectionId;
    use crate::seal::object::{self, CHUNK_BYTES, SEALED_CHUNK_BYTES};

    fn key() -> Arc<CollectionKey> {
        Arc::new(CollectionKey::random(CollectionId::from_bytes([7; 16])))
    }

    fn content(bytes: usize) -> Vec<u8> {
        (0..bytes).map(|n| (n * 31 % 251) as u8).collect()
    }

    fn opened_in(
        pieces: usize,
        key: &Arc<CollectionKey>,
        sealed: &[u8],
    ) -> Result<Vec<u8>, Broken> {
        let mut plain = Vec::new();
        let (role, place) = (Role::DataFile, "a/data/1.sst".to_owned());
        let mut opener = Opener::new(key.clone(), role, place, sealed.len() as u64);
        for piece in sealed.chunks(pieces) {
            opener.take(piece, &mut |bytes| {
                plain.extend_from_slice(bytes);
                Ok::<(), Broken>(())
            })?;
        }
        opener.finish()?;
        Ok(plain)
    }

    fn sealed(key: &CollectionKey, plain: &[u8]) -> Vec<u8> {
        object::seal(key, [3; 16], Role::DataFile, "a/data/1.sst", plain).unwrap()
    }

    #[test]
    fn every_length_around_a_chunk_comes_back_in_pieces_of_any_size() {
        let key = key();
        for bytes in [
            0,
            1,
            15,
            CHUNK_BYTES - 1,
            CHUNK_BYTES,
            CHUNK_BYTES + 1,
            3 * CHUNK_BYTES,
        ] {
            let plain = content(bytes);
            let object = sealed(&key, &plain);
            assert_eq!(object.len() as u64, object::sealed_bytes(bytes as u64));
            assert_eq!(object::plain_bytes(object.len() as u64), Some(bytes as u64));
            for pieces in [7, 4096, SEALED_CHUNK_BYTES, usize::MAX] {
                assert_eq!(
                    opened_in(pieces, &key, &object).unwrap(),
                    plain,
                    "{bytes}, {pieces}"
                );
            }
        }
    }

    #[test]
    fn sizes_that_no_object_has_are_told() {
        for bytes in [
            0,
            31,
            32,
            47,
            (SEALED_CHUNK_BYTES + HEADER_BYTES + 16) as u64,
        ] {
            assert_eq!(object::plain_bytes(bytes), None, "{bytes}");
        }
        assert_eq!(object::plain_bytes(48), Some(0));
    }

    #[test]
    fn every_flipped_bit_cut_and_addition_is_refused() {
        let key = key();
        let object = sealed(&key, b"a small object");
        for bit in 0..object.len() * 8 {
            let mut bad = object.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(opened_in(usize::MAX, &key, &bad).is_err(), "bit {bit}");
        }
        for cut in 0..object.len() {
            assert!(
                opened_in(usize::MAX, &key, &object[..cut]).is_err(),
                "cut at {cut}"
            );
        }
        let longer = [object.as_slice(), b"x"].concat();
        assert!(opened_in(usize::MAX, &key, &longer).is_err());
    }

    #[test]
    fn chunks_cannot_change_places_nor_be_left_out() {
        let key = key();
        let object = sealed(&key, &content(3 * CHUNK_BYTES));
        let (header, body) = object.split_at(HEADER_BYTES);
        let chunks: Vec<&[u8]> = body.chunks(SEALED_CHUNK_BYTES).collect();
        let put = |order: &[usize]| -> Vec<u8> {
            let body = order.iter().map(|at| chunks[*at]);
            [header]
                .into_iter()
                .chain(body)
                .flatten()
                .copied()
                .collect()
        };
        assert!(opened_in(999, &key, &put(&[0, 1, 2])).is_ok());
        for order in [
            &[1, 0, 2][..],
            &[0, 2, 1],
            &[0, 1],
            &[0, 2],
            &[0, 1, 1],
            &[0, 1, 2, 2],
        ] {
            assert!(opened_in(999, &key, &put(order)).is_err(), "{order:?}");
        }
    }

    #[test]
    fn another_key_role_or_place_does_not_open() {
        let key = key();
        let object = sealed(&key, b"x");
        let open = |key: &Arc<CollectionKey>, role, place| object::open(key, role, place, &object);
        assert_eq!(open(&key, Role::DataFile, "a/data/1.sst").unwrap(), b"x");
        assert!(open(&key, Role::DataFile, "b/data/1.sst").is_err());
        assert!(open(&key, Role::Manifest, "a/data/1.sst").is_err());
        let same_bytes = zeroize::Zeroizing::new(**key.secret());
        let elsewhere = CollectionKey::new(CollectionId::from_bytes([8; 16]), same_bytes);
        assert!(open(&Arc::new(elsewhere), Role::DataFile, "a/data/1.sst").is_err());
    }

    #[test]
    fn a_reader_that_grows_or_ends_early_is_an_error() {
        let key = key();
        let mut short =
            SealingReader::new(&key, [1; 16], Role::DataFile, "p", &b"abc"[..], 4).unwrap();
        let error = short.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        let mut long =
            SealingReader::new(&key, [1; 16], Role::DataFile, "p", &b"abcd"[..], 3).unwrap();
        long.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(*long.inner(), b"d");
    }
}
