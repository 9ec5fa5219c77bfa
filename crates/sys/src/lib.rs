//! The only unsafe code of Ottla, as safe functions.
