//! Rows that between them hold every pair of values of any two dimensions, the same rows each time.
//!
//! The two longest dimensions are crossed outright, which is as few rows as pairs of theirs allow;
//! the others are filled in so that each row covers as many new pairs as it can.

use std::collections::HashSet;

/// How many values each dimension has, and which of them can't stand together.
pub(crate) struct Plan<'a, const N: usize> {
    pub(crate) sizes: [usize; N],
    /// Whether value `.1` of dimension `.0` may stand beside another such value.
    pub(crate) allowed: &'a dyn Fn((usize, usize), (usize, usize)) -> bool,
    /// What a dimension takes where every pair is covered already, from a random number.
    pub(crate) filler: fn(usize, u64) -> usize,
}

/// A value for every dimension.
pub(crate) type Row<const N: usize> = [usize; N];

impl<const N: usize> Plan<'_, N> {
    /// The rows, and how many pairs they cover: all that are allowed.
    pub(crate) fn rows(&self, seed: u64) -> (Vec<Row<N>>, usize) {
        let mut random = Random(seed);
        let mut left = self.pairs();
        let pairs = left.len();
        let mut rows = Vec::new();
        let mut crossed: Vec<(usize, usize)> = (0..self.sizes[0])
            .flat_map(|first| (0..self.sizes[1]).map(move |second| (first, second)))
            .filter(|&(first, second)| (self.allowed)((0, first), (1, second)))
            .collect();
        random.shuffle(&mut crossed);
        for (first, second) in crossed {
            rows.push(self.fill(&[(0, first), (1, second)], &mut left, &mut random));
        }
        while let Some(&(one, other)) = left.iter().min() {
            rows.push(self.fill(&[one, other], &mut left, &mut random));
        }
        (rows, pairs)
    }

    fn pairs(&self) -> HashSet<Pair> {
        let values = |dimension: usize| (0..self.sizes[dimension]).map(move |v| (dimension, v));
        let mut pairs = HashSet::new();
        for first in 0..N {
            for second in first + 1..N {
                for one in values(first) {
                    let beside = values(second).filter(|&other| (self.allowed)(one, other));
                    pairs.extend(beside.map(|other| (one, other)));
                }
            }
        }
        pairs
    }

    /// A row that holds these values; what it covers is left no longer.
    fn fill(
        &self,
        given: &[(usize, usize)],
        left: &mut HashSet<Pair>,
        random: &mut Random,
    ) -> Row<N> {
        let mut chosen = given.to_vec();
        for dimension in 0..N {
            if chosen.iter().any(|&(known, _)| known == dimension) {
                continue;
            }
            let pairs = |value| chosen.iter().map(move |&other| ordered(other, (dimension, value)));
            let fits = |value| pairs(value).all(|(one, other)| (self.allowed)(one, other));
            let gain = |value| pairs(value).filter(|pair| left.contains(pair)).count();
            let best = (0..self.sizes[dimension])
                .filter(|&value| fits(value))
                .map(|value| (gain(value), random.next(), value))
                .max()
                .unwrap_or_else(|| panic!("nothing in dimension {dimension} fits {chosen:?}"));
            let filler = (self.filler)(dimension, random.next());
            let value = if best.0 == 0 && fits(filler) { filler } else { best.2 };
            chosen.push((dimension, value));
        }
        chosen.sort_unstable();
        for (place, &one) in chosen.iter().enumerate() {
            for &other in &chosen[place + 1..] {
                left.remove(&(one, other));
            }
        }
        std::array::from_fn(|dimension| chosen[dimension].1)
    }
}

/// Two values, each with its dimension, that of the lower dimension first.
type Pair = ((usize, usize), (usize, usize));

fn ordered(one: (usize, usize), other: (usize, usize)) -> Pair {
    if one.0 < other.0 { (one, other) } else { (other, one) }
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for place in (1..items.len()).rev() {
            let other = self.next() % (place as u64 + 1);
            items.swap(place, usize::try_from(other).unwrap());
        }
    }
}

#[test]
fn every_allowed_pair_stands_in_a_row_and_no_other() {
    let plan = Plan {
        sizes: [7, 5, 4, 3, 2],
        allowed: &|one, other| (one, other) != ((2, 3), (4, 1)),
        filler: |_, _| 0,
    };
    let (rows, pairs) = plan.rows(1);
    assert_eq!(pairs, plan.pairs().len());
    for (one, other) in plan.pairs() {
        assert!(rows.iter().any(|row| row[one.0] == one.1 && row[other.0] == other.1));
    }
    assert!(!rows.iter().any(|row| row[2] == 3 && row[4] == 1));
    assert_eq!(rows, plan.rows(1).0, "the same rows each time");
    assert!(rows.len() <= 37, "{}", rows.len());
}
