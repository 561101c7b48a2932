//! The route of a request, among few routes and among many.

use std::hint::black_box;

use hyper::Method;
use portcullis::route::methods::MethodSet;
use portcullis::route::{Found, ListenerSet, Matcher, Table};

use super::{HOST, PATH, Work};

/// One of `count` routes with different paths finds the request; the others share its beginning.
pub(super) fn among(count: usize) -> Work {
    let matcher = |path: String| Matcher {
        hosts: Vec::new(),
        path: path.parse().expect("a pattern"),
        methods: MethodSet::all(),
        listeners: ListenerSet::All,
    };
    let mut routes = vec![(matcher("/api/v1/orders/*".to_owned()), 0)];
    routes.extend((1..count).map(|nth| (matcher(format!("/api/v1/thing-{nth}/*")), nth)));
    let table = Table::build(routes);
    Box::new(move || {
        let found = table.find(0, black_box(HOST), black_box(PATH), &Method::GET);
        assert_eq!(black_box(found), Found::Route(0));
    })
}
