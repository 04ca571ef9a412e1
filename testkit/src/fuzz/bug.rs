//! Bugs planted between a target and its subject, to show that the checks fire.

/// What the subject is made to do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Keys are stored without escapes.
    KeysAreNotEscaped,
    /// Old versions of a key sort first.
    KeysSortOldestFirst,
    /// The end of a range is included.
    RangesIncludeTheirEnd,
    /// A stored key with a wrong escape decodes.
    KeysDecodeLoosely,
    /// A manifest is written without saying which keyspaces it introduces.
    ManifestsLoseIntroductions,
    /// A manifest that cannot be is taken.
    ManifestsAreNotValidated,
    /// The second layer of a chain is left out.
    ChainsSkipALayer,
    /// A layer that keeps no history is taken for a time inside it.
    ChainsInventHistory,
    /// A way that is longer than it must be is taken.
    ChainsTakeADetour,
    /// A URI displays its secrets.
    UrisShowSecrets,
    /// A URI displays without the last character of its place.
    UrisDisplayTooLittle,
    /// Names are read without regard to case.
    NamesLoseCase,
    /// A pattern of a database is taken for a mere prefix.
    PatternsAreMerePrefixes,
    /// An object whose tag does not fit opens.
    TagsAreIgnored,
    /// A wrapper may ask for any cost.
    CostsAreNotBounded,
    /// Times display to the microsecond.
    TimesAreRounded,
    /// A backslash stands for itself in a key's text.
    TextsAreNotEscaped,
    /// A restore fetches files that lie after its target.
    RestoresFetchTheFuture,
    /// A restore ingests files that straddle its target as they are.
    RestoresForgetToRewrite,
    /// A restore begins at the last layer, introduced or not.
    RestoresBeginLate,
    /// The engine acknowledges a commit that it does not make.
    EngineLosesACommit,
    /// The engine reads the instant before.
    EngineReadsThePast,
}

impl Bug {
    /// The bug that the environment asks for in `ICECORE_FUZZ_BUG`, by its name here: with it a fuzzer
    /// can be watched finding one.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        let name = std::env::var("ICECORE_FUZZ_BUG").ok()?;
        Self::all().find(|bug| format!("{bug:?}") == name)
    }

    /// Every bug, with the target that catches it.
    pub const ALL: &[(&str, Self)] = &[
        ("key_codec", Self::KeysAreNotEscaped),
        ("key_codec", Self::KeysSortOldestFirst),
        ("key_codec", Self::RangesIncludeTheirEnd),
        ("key_codec", Self::KeysDecodeLoosely),
        ("manifest", Self::ManifestsLoseIntroductions),
        ("manifest", Self::ManifestsAreNotValidated),
        ("chain_plan", Self::ChainsSkipALayer),
        ("chain_plan", Self::ChainsInventHistory),
        ("chain_plan", Self::ChainsTakeADetour),
        ("uri", Self::UrisShowSecrets),
        ("uri", Self::UrisDisplayTooLittle),
        ("names", Self::NamesLoseCase),
        ("names", Self::PatternsAreMerePrefixes),
        ("sealed", Self::TagsAreIgnored),
        ("sealed", Self::CostsAreNotBounded),
        ("texts", Self::TimesAreRounded),
        ("texts", Self::TextsAreNotEscaped),
        ("restore_plan", Self::RestoresFetchTheFuture),
        ("restore_plan", Self::RestoresForgetToRewrite),
        ("restore_plan", Self::RestoresBeginLate),
        ("engine_ops", Self::EngineLosesACommit),
        ("engine_ops", Self::EngineReadsThePast),
    ];

    fn all() -> impl Iterator<Item = Self> {
        Self::ALL.iter().map(|(_, bug)| *bug)
    }
}
