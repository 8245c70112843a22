//! Boot entries, the state sector, and the rule that decides which entry boots next.
