//! Sums of numbers that were read from a collection.

/// Adds up what manifests and markers say. A total that a `u64` cannot hold is not true, and comes out as
/// [`u64::MAX`]: what is read may be damaged, and adding it up must not be what fails.
#[must_use]
pub fn total(numbers: impl IntoIterator<Item = u64>) -> u64 {
    numbers.into_iter().fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_never_wraps() {
        assert_eq!(total([1, 2, 3]), 6);
        assert_eq!(total([u64::MAX, 1]), u64::MAX);
        assert_eq!(total([]), 0);
    }
}
