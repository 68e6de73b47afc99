//! One macro for sets of named bits. A set keeps bits it has no name for, so nothing is lost between decode and encode.

/// Declares a set of bits: a newtype with a constant a bit.
macro_rules! flags {
    ($(#[$meta:meta])* $name:ident: $repr:ty { $($(#[$bit_meta:meta])* $bit:ident = $value:expr, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $repr);

        impl $name {
            /// No bit set.
            pub const NONE: Self = Self(0);
            $($(#[$bit_meta])* pub const $bit: Self = Self($value);)*

            /// Every bit that has a name, with its name.
            pub const NAMES: &'static [(Self, &'static str)] = &[$((Self($value), $text)),*];

            /// Whether all bits of `other` are set.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether no bit is set.
            #[must_use]
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }

            /// The names of the bits that are set, in the order of their declaration.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                Self::NAMES.iter().filter(move |(bit, _)| self.contains(*bit)).map(|(_, name)| *name)
            }
        }

        impl std::ops::BitOr for $name {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl std::ops::BitOrAssign for $name {
            fn bitor_assign(&mut self, other: Self) {
                self.0 |= other.0;
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let names: Vec<_> = self.names().collect();
                write!(f, "{}({:#x} {})", stringify!($name), self.0, names.join("|"))
            }
        }
    };
}
pub(crate) use flags;
