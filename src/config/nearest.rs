//! "Did you mean": the nearest of the names that would have been right.

/// The candidate nearest to `word`, if it is near enough to be what was meant.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap neighbours) from one word to the other.
///
/// Words beyond 64 characters are no misspelling of any key: they are at the greatest distance.
pub(super) fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().take(65).collect();
    let to: Vec<char> = to.chars().take(65).collect();
    if from.len() > 64 || to.len() > 64 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let at =
                |row: &[usize], place: usize| row.get(place).copied().unwrap_or(usize::MAX - 1);
            let mut cost =
                (at(&last, j) + usize::from(a != b)).min(at(&last, j + 1) + 1).min(at(&row, j) + 1);
            let swapped = i > 0 && j > 0 && from.get(i - 1) == Some(b) && to.get(j - 1) == Some(a);
            if swapped {
                cost = cost.min(at(&before, j - 1) + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let keys = ["address", "public_port", "protocols", "tls"];
        assert_eq!(nearest("adress", keys), Some("address"));
        assert_eq!(nearest("protocls", keys), Some("protocols"));
        assert_eq!(nearest("tsl", keys), Some("tls"));
        assert_eq!(nearest("upstream", keys), None);
        assert_eq!(distance(&"x".repeat(1000), "x"), usize::MAX);
    }
}
