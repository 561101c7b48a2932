//! The middle and the ends of some numbers.

use super::core::spread::Spread;

#[test]
fn the_middle_of_an_odd_and_of_an_even_number() {
    let odd = Spread::of([3.0, 1.0, 2.0]);
    assert_eq!(odd, Spread { least: 1.0, median: 2.0, most: 3.0 });
    let even = Spread::of([4.0, 1.0, 2.0, 3.0]);
    assert_eq!(even, Spread { least: 1.0, median: 2.5, most: 4.0 });
    assert_eq!(Spread::of([7.0]).median.to_bits(), 7.0_f64.to_bits());
}

#[test]
fn nothing_has_no_middle() {
    assert!(Spread::of([]).median.is_nan());
}

#[test]
fn it_reads_as_median_and_ends() {
    assert_eq!(Spread::of([1.2, 1.1, 1.15]).to_string(), "1.150 (1.100 to 1.200)");
}
