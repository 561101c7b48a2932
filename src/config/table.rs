//! `table!` and `words!`: one definition per table and per closed list of words.
//!
//! Everything else about a key is made from its line here, so that the reader, the reference page
//! and the JSON Schema cannot disagree.

/// Defines a table of the file: its struct and, from the same lines, everything that reads or
/// describes it.
///
/// A field is `name as "key": Type, presence, limits(min, max);`. The key is the field's name
/// unless `as` says otherwise. Presence is `required`, `optional("what its absence means")` or
/// `default(a TOML value)`: the default is read like a value of the file, so what the reference
/// says is what happens. `[name]` after the struct's name: the table stands in a map, and the
/// field holds its key there.
macro_rules! table {
    (
        $(#[doc = $table_doc:literal])+
        pub struct $table:ident $([$name:ident])? {
            $(
                $(#[doc = $doc:literal])+
                $field:ident $(as $key:literal)? : $ty:ty, $presence:ident $(($($default:tt)*))?
                $(, limits($min:literal, $max:literal))? ;
            )*
        }
    ) => {
        $(#[doc = $table_doc])+
        #[derive(Clone, Debug)]
        pub struct $table {
            $(
                /// The table's name in the file.
                pub $name: $crate::config::Spanned<String>,
            )?
            $( $(#[doc = $doc])+ pub $field: $ty, )*
            /// Where the table stands in the file.
            pub span: std::ops::Range<usize>,
        }

        impl $crate::config::walk::Value for $table {
            $( const NAMED: bool = { let _ = stringify!($name); true }; )?

            fn read(
                node: &$crate::config::node::Node,
                walk: &mut $crate::config::walk::Walk<'_>,
            ) -> Option<Self> {
                let known = [$(table!(@key $field $($key)?),)*];
                let fields = $crate::config::walk::Fields::open(node, &known, walk)?;
                $(
                    let $field: Option<$ty> = fields.read(
                        table!(@key $field $($key)?),
                        table!(@presence $presence $(($($default)*))?),
                        table!(@limits $($min, $max)?),
                        walk,
                    );
                )*
                Some(Self {
                    $( $name: fields.name()?, )?
                    $( $field: $field?, )*
                    span: node.span.clone(),
                })
            }

            fn shape() -> $crate::config::describe::Shape {
                Self::describe().shape()
            }

            fn table() -> Option<$crate::config::describe::TableDoc> {
                Some(Self::describe())
            }
        }

        impl $table {
            fn describe() -> $crate::config::describe::TableDoc {
                $crate::config::describe::TableDoc {
                    doc: $crate::config::describe::paragraph(&[$($table_doc),+]),
                    fields: vec![$(
                        $crate::config::describe::FieldDoc {
                            key: table!(@key $field $($key)?),
                            doc: $crate::config::describe::paragraph(&[$($doc),+]),
                            shape: <$ty as $crate::config::walk::Value>::shape(),
                            presence: table!(@presence $presence $(($($default)*))?),
                            limits: table!(@limits $($min, $max)?),
                            table: <$ty as $crate::config::walk::Value>::table(),
                        },
                    )*],
                }
            }
        }
    };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (@presence required) => { $crate::config::describe::Presence::Required };
    (@presence optional($absence:literal)) => {
        $crate::config::describe::Presence::Optional($absence)
    };
    (@presence default($($default:tt)*)) => {
        $crate::config::describe::Presence::Default(stringify!($($default)*))
    };
    (@limits) => { None };
    (@limits $min:literal, $max:literal) => {
        Some($crate::config::describe::Limits { min: stringify!($min), max: stringify!($max) })
    };
}

/// Defines a closed list of words that a string may be.
macro_rules! words {
    (
        $(#[doc = $doc:literal])+
        pub enum $name:ident {
            $( $(#[doc = $variant_doc:literal])+ $variant:ident = $text:literal, )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $( $(#[doc = $variant_doc])+ $variant, )+ }

        impl $name {
            /// The word in the file.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text, )+ }
            }
        }

        impl $crate::config::walk::Value for $name {
            fn read(
                node: &$crate::config::node::Node,
                walk: &mut $crate::config::walk::Walk<'_>,
            ) -> Option<Self> {
                $crate::config::describe::word(&[$(($text, Self::$variant),)+], node, walk)
            }

            fn shape() -> $crate::config::describe::Shape {
                $crate::config::describe::word_shape(&[$(
                    ($text, $crate::config::describe::paragraph(&[$($variant_doc),+])),
                )+])
            }
        }
    };
}
