//! What words are made of.

/// Common words, the commonest first.
pub(super) const COMMON: &str = "\
the i to a and it is of that in you for on not be but have this with if so are just we can my was do as they or at what \
no like all about there me one would will from when how up get has more think your an time know don't it's out some only \
then them now he other see people her which than also really want i'm could make new good that's use because by why need \
go should work even way who had any too did here where very still much well say something their does into thing sure over \
right been after back yeah his first same these can't she day yes us again most things going doesn't maybe off got were \
take problem better before seems try try many while being those every lot didn't one's last year nothing never down always \
another using probably through thanks anyone please around look long since point find both own two actually someone give \
its isn't part such few without help used bit already might today until course different between though put little \
question wait old next real works done let far true each makes done idea mean end best bad tell anything enough once \
least read great come feel place fine quite page set big run change left open home case less looks though keep nice call \
wrong name number fact world start ago week house night hours half rather kind simple life write money food away early \
whole side full line late easy else able free hand low high hard stop stuff test list game post link key talk show check \
turn error file code version server room user message client build update issue fix data system app phone screen \
computer window network account setting default config support feature release branch merge commit patch bug test \
install package library function value type string table index query cache store log thread lock queue memory disk byte \
event state sync join leave invite ban bridge bot space channel topic image video voice audio music book movie song \
school class student teacher job office boss meeting team project plan deadline morning evening weekend monday tuesday \
friday sunday month spring summer autumn winter weather rain snow sun wind cold warm hot water coffee tea beer bread \
cheese meat fish rice soup salt sugar apple dinner lunch breakfast kitchen table chair door street road city town country \
train bus car bike plane flight ticket hotel travel trip holiday party birthday friend family mother father brother sister \
son daughter child kids baby dog cat bird horse tree flower garden field river sea mountain forest island lake sky star \
moon light dark colour red blue green black white yellow body head face eye ear mouth hair heart back arm leg foot blood \
doctor health pain sleep dream mind soul word letter language english german french paper pen picture story news \
history science art law war peace power force energy heat fire gold iron stone glass wood metal cloth shirt shoes hat \
price cost market shop bank tax rent pay buy sell win lose fight play sing dance walk run ride drive fly swim jump fall \
climb throw catch push pull hold carry bring send receive follow lead meet visit wait hope wish love hate fear trust \
doubt agree wonder remember forget learn teach understand explain describe compare choose decide prefer expect suppose \
happen appear become remain grow rise increase reduce remove add count measure weigh cut break burn build paint clean \
wash cook eat drink smoke breathe laugh cry smile shout whisper listen hear watch notice smell taste touch quickly slowly \
often sometimes rarely usually currently recently finally suddenly exactly nearly almost completely mostly simply clearly \
perhaps however therefore otherwise instead besides meanwhile anyway especially definitely basically literally honestly";

/// Letters that begin a syllable.
pub(super) const STARTS: &[&str] = &[
    "b", "br", "c", "c", "ch", "cl", "d", "d", "dr", "f", "fl", "fr", "g", "gr", "h", "h", "j", "k", "l", "l", "m",
    "m", "n", "n", "p", "p", "pl", "pr", "qu", "r", "r", "r", "s", "s", "sc", "sh", "sl", "sp", "st", "str", "t", "t",
    "t", "th", "tr", "v", "w", "wh", "", "",
];

/// The vowels of a syllable.
pub(super) const MIDDLES: &[&str] = &[
    "a", "a", "a", "e", "e", "e", "e", "i", "i", "i", "o", "o", "o", "u", "u", "ai", "ea", "ee", "io", "oo", "ou", "y",
];

/// Letters that end a syllable.
pub(super) const ENDS: &[&str] = &[
    "", "", "", "", "", "b", "ck", "d", "l", "l", "ll", "m", "n", "n", "n", "nd", "ng", "nt", "p", "r", "r", "r", "rd",
    "rm", "rt", "s", "s", "ss", "st", "t", "t", "th", "x",
];

/// Ends of words.
pub(super) const ENDINGS: &[&str] =
    &["", "", "", "", "", "", "e", "e", "s", "s", "s", "ed", "ed", "er", "ing", "ing", "ly", "tion", "al", "ness"];
