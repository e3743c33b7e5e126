//! Structs that say their own size, so that headers and libraries of different age fit together.
//!
//! One that is shorter than ours comes from an older header: the rest counts as zero, which is
//! every field's default. One that is longer comes from a newer header: it is taken as long as what
//! we do not know is zero, and refused otherwise, for then it asks for what we cannot do.

use std::mem::MaybeUninit;

use crate::error::Failure;

/// More than any struct will ever have; a larger size is garbage.
const SIZE_MAX: usize = 64 << 10;

/// A plain struct for which all zeroes is a valid value.
///
/// # Safety
/// That is so, and the struct has no padding.
pub(crate) unsafe trait Plain: Copy {
    /// Its name in C.
    const NAME: &'static str;
    /// Its size in the first header that had it.
    const FIRST_SIZE: usize;
}

fn zeroed<T: Plain>() -> T {
    // SAFETY: all zeroes is a value of a `Plain`.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// Reads a struct of `size` bytes.
///
/// # Safety
/// `from` may be read for `size` bytes.
pub(crate) unsafe fn read<T: Plain>(from: *const T, size: usize) -> Result<T, Failure> {
    check_size::<T>(size)?;
    let ours = size_of::<T>();
    let mut value = zeroed::<T>();
    // SAFETY: `size` bytes may be read, and `value` has as many as are copied.
    unsafe { (&raw mut value).cast::<u8>().copy_from(from.cast(), size.min(ours)) };
    if size > ours {
        // SAFETY: what lies beyond ours is within `size`.
        let tail = unsafe { std::slice::from_raw_parts(from.cast::<u8>().add(ours), size - ours) };
        if tail.iter().any(|byte| *byte != 0) {
            let name = T::NAME;
            let what = format!("{name}: a field is set that this library does not know yet");
            return Err(Failure::invalid(what));
        }
    }
    Ok(value)
}

/// Reads options, whose first field is their size; NULL stands for all defaults.
///
/// # Safety
/// `from` is NULL, or aligned for a `size_t` and readable for as many bytes as its first one says.
pub(crate) unsafe fn read_options<T: Plain>(from: *const T) -> Result<T, Failure> {
    if from.is_null() {
        return Ok(zeroed());
    }
    if !from.cast::<usize>().is_aligned() {
        return Err(Failure::invalid(format!("{}: not aligned", T::NAME)));
    }
    // SAFETY: aligned, and begins with its size: the caller's promise.
    let size = unsafe { from.cast::<usize>().read() };
    // SAFETY: that many bytes may be read.
    unsafe { read(from, size) }
}

/// Whether C's size of a struct can be one.
pub(crate) fn check_size<T: Plain>(size: usize) -> Result<(), Failure> {
    if !(T::FIRST_SIZE..=SIZE_MAX).contains(&size) || !size.is_multiple_of(align_of::<T>()) {
        let name = T::NAME;
        return Err(Failure::invalid(format!("{name}: {size} is not the size of one")));
    }
    Ok(())
}

/// An array of C's, whose elements may be shorter or longer than ours.
pub(crate) struct OutArray<T> {
    at: *mut u8,
    element: usize,
    capacity: usize,
    kind: std::marker::PhantomData<T>,
}

impl<T: Plain> OutArray<T> {
    /// # Safety
    /// `at` is NULL or may be written for `capacity` elements of `element` bytes.
    pub(crate) unsafe fn new(at: *mut T, capacity: usize, element: usize) -> Result<Self, Failure> {
        check_size::<T>(element)?;
        let fits = capacity.checked_mul(element).is_some_and(|len| isize::try_from(len).is_ok());
        if !fits || (capacity > 0 && (at.is_null() || !at.is_aligned())) {
            return Err(Failure::invalid(format!("{}: no such array", T::NAME)));
        }
        Ok(Self { at: at.cast(), element, capacity, kind: std::marker::PhantomData })
    }

    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Writes one element: of a longer one the rest becomes zero, of a shorter one nothing more.
    #[inline]
    pub(crate) fn write(&mut self, index: usize, value: T) {
        assert!(index < self.capacity, "written within the array");
        // SAFETY: within the array, which may be written: the promise of `new`.
        let to = unsafe { self.at.add(index * self.element) };
        if self.element == size_of::<T>() {
            // SAFETY: as above; `new` checked the alignment, and that of every element's size.
            unsafe { to.cast::<T>().write(value) };
            return;
        }
        let copied = self.element.min(size_of::<T>());
        // SAFETY: as above, and no more bytes than either side has.
        unsafe {
            to.copy_from_nonoverlapping((&raw const value).cast(), copied);
            to.add(copied).write_bytes(0, self.element - copied);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A struct that has grown by two fields since its first header.
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(C)]
    struct Grown {
        first: u64,
        second: u64,
        third: u64,
    }

    // SAFETY: integers without padding.
    unsafe impl Plain for Grown {
        const NAME: &'static str = "grown";
        const FIRST_SIZE: usize = 8;
    }

    static FULL: Grown = Grown { first: 1, second: 2, third: 3 };

    #[test]
    fn of_a_shorter_struct_the_rest_is_zero_whatever_lies_behind_it() {
        for (size, second, third) in [(8, 0, 0), (16, 2, 0), (24, 2, 3)] {
            // SAFETY: 24 bytes may be read, and no more are.
            let read = unsafe { read(&raw const FULL, size) }.expect("a known size");
            assert_eq!(read, Grown { first: 1, second, third });
        }
    }

    #[test]
    fn of_a_longer_struct_the_rest_must_be_zero() {
        let mut newer = [1_u64, 2, 3, 0, 0];
        // SAFETY: so many bytes may be read.
        let read_newer = |newer: &[u64; 5]| unsafe { read::<Grown>(newer.as_ptr().cast(), 40) };
        assert_eq!(read_newer(&newer).expect("asks for nothing new"), FULL);
        newer[4] = 1 << 63;
        assert!(read_newer(&newer).is_err());
    }

    #[test]
    fn of_a_shorter_element_nothing_beyond_it_is_written() {
        let mut shorter = [u64::MAX; 6];
        // SAFETY: three elements of 16 bytes may be written.
        let array = unsafe { OutArray::<Grown>::new(shorter.as_mut_ptr().cast(), 3, 16) };
        let mut array = array.expect("a known size");
        array.write(2, FULL);
        array.write(0, FULL);
        assert_eq!(shorter, [1, 2, u64::MAX, u64::MAX, 1, 2]);
    }

    #[test]
    fn of_a_longer_element_the_rest_becomes_zero() {
        let mut longer = [u64::MAX; 8];
        // SAFETY: two elements of 32 bytes may be written.
        let array = unsafe { OutArray::<Grown>::new(longer.as_mut_ptr().cast(), 2, 32) };
        array.expect("a size that may come").write(1, FULL);
        assert_eq!(longer, [u64::MAX, u64::MAX, u64::MAX, u64::MAX, 1, 2, 3, 0]);
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        for size in [0, 7, 9, 23, SIZE_MAX + 8, usize::MAX - 7] {
            assert!(check_size::<Grown>(size).is_err(), "{size}");
        }
    }
}
