//! Configuration files with places to fill.

use super::core::template::fill;

#[test]
fn every_place_is_filled() {
    let values = [("port", "80".to_owned()), ("upstream", "81".to_owned())];
    let filled = fill("listen @port@;\npass @upstream@ @port@;", &values);
    assert_eq!(filled.unwrap(), "listen 80;\npass 81 80;");
}

#[test]
fn a_value_may_hold_the_places_of_later_ones() {
    let values = [("tls", "cert @cert@".to_owned()), ("cert", "/a".to_owned())];
    assert_eq!(
        fill("\"@type\": x\n@tls@ \"@type\"", &values).unwrap(),
        "\"@type\": x\ncert /a \"@type\""
    );
}

#[test]
fn a_place_without_a_value_names_itself() {
    let values = [("port", "80".to_owned())];
    assert_eq!(fill("@port@ @upstream@", &values).unwrap_err(), "nothing is given for @upstream@");
}
