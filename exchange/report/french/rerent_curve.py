"""French of the reports `rerent_curve` and `lost`."""

from typing import Final

WORDS: Final[dict[str, str]] = {
    "The number of a contact counts all that its advertiser paid for this person, whatever the report is restricted "
    "to.": (
        "Le numéro d'un contact compte tous ceux que son annonceur a payés pour cette personne, quelle que soit la "
        "restriction du rapport."
    ),
    "The n-th contact": "Le n-ième contact",
    "what does the n-th contact with a person cost and bring, and where should it stop?": (
        "que coûte et que rapporte le n-ième contact avec une personne, et où s'arrêter ?"
    ),
    "As fitted, a click costs {first} at the first contact and {last} at contact {n}.": (
        "Selon la courbe, un clic coûte {first} au premier contact et {last} au contact {n}."
    ),
    "By number of the contact": "Par numéro du contact",
    "Clicks per first contact, as fitted, with its 95 % interval.": (
        "Clics par premier contact, selon la courbe, avec l'intervalle de 95 %."
    ),
    "Cost of a click at the n-th contact": "Coût d'un clic au n-ième contact",
    "Different people.": "Personnes différentes.",
    "Its number: the n-th paid contact of an advertiser with a person.": (
        "Son numéro : le n-ième contact payé d'un annonceur avec une personne."
    ),
    "Lower end of its 95 % interval.": "Borne basse de son intervalle de 95 %.",
    "Mean price of a contact billed by the impression. Net of refunds.": (
        "Prix moyen d'un contact facturé à l'affichage. Net des remboursements."
    ),
    "Mean price of a contact. Net of refunds.": "Prix moyen d'un contact. Net des remboursements.",
    "Nowhere yet: every contact seen is worth its price ({price}) if a click is worth {worth}.": (
        "Nulle part encore : chaque contact vu vaut son prix ({price}) si un clic vaut {worth}."
    ),
    "At a click worth {worth} not even the first contact is worth its {price}.": (
        "Si un clic vaut {worth}, pas même le premier contact ne vaut ses {price}."
    ),
    "After contact {cap}: at a click worth {worth} the next one costs more ({price}) than it brings.": (
        "Après le contact {cap} : si un clic vaut {worth}, le suivant coûte plus ({price}) qu'il ne rapporte."
    ),
    "There is no contact billed by the impression.": "Il n'y a aucun contact facturé à l'affichage.",
    "Nobody can tell: {n} clicks are too few to see response fade.": (
        "Nul ne peut le dire : {n} clics, c'est trop peu pour voir la réponse faiblir."
    ),
    "No curve was fitted: it needs clicks at two different contact numbers.": (
        "Pas de courbe : il faut des clics à deux numéros de contact différents."
    ),
    "Observed response goes from {first} at the first contact to {last} at contact {n}.": (
        "La réponse observée va de {first} au premier contact à {last} au contact {n}."
    ),
    "Of these, clicked.": "Dont cliqués.",
    "Paid ads whose person is known, billed by the impression.": (
        "Publicités payées dont la personne est connue, facturées à l'affichage."
    ),
    "Response of a contact over that of the contact before it, as fitted, with its 95 % interval: below 1 response "
    "fades.": (
        "Réponse d'un contact sur celle du précédent, selon la courbe, avec l'intervalle de 95 % : au-dessous de 1 la "
        "réponse faiblit."
    ),
    "Response of the first contact, as fitted.": "Réponse du premier contact, selon la courbe.",
    "Response of the n-th contact": "Réponse du n-ième contact",
    "Response over that of the contact before, as fitted.": "Réponse sur celle du contact précédent, selon la courbe.",
    "Share of contacts that rent somebody whom the same advertiser had rented before.": (
        "Part des contacts qui louent quelqu'un que le même annonceur avait déjà loué."
    ),
    "Spend per click, over all contacts. Net of refunds.": (
        "Dépense par clic, sur tous les contacts. Net des remboursements."
    ),
    "That is no more than a guess: whether response fades at all cannot be told from {n} clicks.": (
        "Ce n'est qu'une supposition : si la réponse faiblit, on ne peut le dire avec {n} clics."
    ),
    "The curve assumes that every person responds alike and that each contact keeps the same share of the response "
    "before it. People differ: who is met often may like or dislike ads more than others, and the curve takes that for "
    "the effect of repetition. A test would cap at random.": (
        "La courbe suppose que tous répondent pareillement et que chaque contact garde la même part de la réponse "
        "précédente. Les gens diffèrent : qui est rencontré souvent peut aimer les publicités plus ou moins que "
        "d'autres, et la courbe prend cela pour l'effet de la répétition. Un essai plafonnerait au hasard."
    ),
    "The last contact that is worth its price if response fades as fitted: beyond it a contact costs more than it "
    "brings. A dash: no contact seen is beyond it, or nothing could be fitted.": (
        "Le dernier contact qui vaut son prix si la réponse faiblit selon la courbe : au-delà, un contact coûte plus "
        "qu'il ne rapporte. Un tiret : aucun contact vu n'est au-delà, ou il n'y a pas de courbe."
    ),
    "The last contact that is worth its price.": "Le dernier contact qui vaut son prix.",
    "The same if each advertiser's contacts fell evenly on all known people who came: what chance alone would do.": (
        "La même si les contacts de chaque annonceur tombaient également sur tous les gens connus qui sont venus : ce "
        "que ferait le seul hasard."
    ),
    "The sum of the buyers' valuations / of the clicks they expected, over the contacts counted here of which both are "
    "known.": (
        "La somme de ce que les acheteurs y voient de valeur / des clics qu'ils attendaient, sur les contacts comptés "
        "ici dont on connaît les deux."
    ),
    "Given with --worth.": "Donné par --worth.",
    "What they cost. Net of refunds.": "Ce qu'ils ont coûté. Net des remboursements.",
    "What was paid beyond it. Net of refunds.": "Ce qui a été payé au-delà. Net des remboursements.",
    "What was paid for contacts beyond the cap. Net of refunds.": (
        "Ce qui a été payé pour les contacts au-delà du plafond. Net des remboursements."
    ),
    "Where should it stop?": "Où s'arrêter ?",
    "a click": "un clic",
    "a click costs": "un clic coûte",
    "a click is worth": "un clic vaut",
    "beyond": "au-delà",
    "clicks / contacts.": "clics / contacts.",
    "clicks per contact": "clics par contact",
    "contact": "contact",
    "first": "premier",
    "fitted": "courbe",
    "next keeps": "le suivant garde",
    "observed": "observée",
    "price": "prix",
    "q1 g^(n - 1), weighted by contacts.": "q1 g^(n - 1), pondéré par les contacts.",
    "re-rented": "reloués",
    "re-rented, if it fell evenly": "reloués, si c'était également réparti",
    "response": "réponse",
    "response of the first contact": "réponse du premier contact",
    "spend / clicks: what a response at this contact costs.": (
        "dépense / clics : ce que coûte une réponse à ce contact."
    ),
    "spent beyond it": "dépensé au-delà",
    "stop": "arrêt",
    "stop at": "s'arrêter à",
    "what a click is worth (default: as the buyers value it)": (
        "ce que vaut un clic (défaut : ce qu'en disent les acheteurs)"
    ),
    "what the next one keeps": "ce que garde le suivant",
    "where to stop": "où s'arrêter",
    "worth of a click": "valeur d'un clic",
    "{n} billed by click or conversion are left out: they are responses by definition.": (
        "{n} facturées au clic ou à la conversion sont laissées de côté : ce sont des réponses par définition."
    ),
    "{seen} of the contacts rent the same person again; if they fell evenly on all who came, it would be {even}.": (
        "{seen} des contacts relouent la même personne ; s'ils tombaient également sur tous ceux qui sont venus, ce "
        "serait {even}."
    ),
    # lost
    "Lost bids": "Offres perdues",
    "why did bids lose, and what would it have taken to win?": (
        "pourquoi des offres ont-elles perdu, et qu'aurait-il fallu pour gagner ?"
    ),
    "A bid below a floor that only its own seat has, or lost for another reason than its price, has no price that "
    "wins.": (
        "Une offre sous un plancher propre à son seul acheteur, ou perdue pour une autre raison que son "
        "prix, n'a pas de "
        "prix qui gagne."
    ),
    "A raise of {raise} would have won {n} of {all}.": "Une hausse de {raise} en aurait gagné {n} sur {all}.",
    "A tenth of them needed at most so many times their bid.": (
        "Il fallait à un dixième au plus tant de fois leur prix."
    ),
    "Bids lost / bids with a price.": "Offres perdues / offres avec un prix.",
    "Bids lost by price that would have won.": "Offres perdues par le prix qui auraient gagné.",
    "Bids that lost because another was higher, or a floor: a higher bid would have won.": (
        "Offres perdues parce qu'une autre, ou un plancher, était plus haut : une offre plus haute aurait gagné."
    ),
    "Bids with a price that did not win.": "Offres avec un prix qui n'ont pas gagné.",
    "By seat": "Par acheteur",
    "Every bid raised by so much, all others as they were.": "Chaque offre relevée d'autant, toutes les autres telles.",
    "Half of them needed at most so many times their bid.": "Il fallait à la moitié au plus tant de fois leur prix.",
    "Half of those lost by price would have won at {x} times their bid.": (
        "La moitié de celles perdues par le prix auraient gagné à {x} fois leur prix."
    ),
    "Mean bid of those lost by price, gross.": "Offre moyenne de celles perdues par le prix, brute.",
    "Mean of the least bid that would have won, gross.": "Moyenne de la moindre offre qui aurait gagné, brute.",
    "Median of the least bid that would have won over the own bid.": (
        "Médiane de la moindre offre qui aurait gagné sur la sienne."
    ),
    "Nine tenths needed at most so many times their bid.": "Il fallait à neuf dixièmes au plus tant de fois leur prix.",
    "Of the bids lost by price.": "Des offres perdues par le prix.",
    "Of these, those above the buyer's own valuation.": "Dont celles au-dessus de ce que l'acheteur y voit de valeur.",
    "Of these, those that a higher bid would have won.": "Dont celles qu'une offre plus haute aurait gagnées.",
    "Pairs of an advertiser and a known person for whom it bid, lost by price, and never won.": (
        "Paires d'un annonceur et d'une personne connue pour qui il a fait une offre, perdu par le prix, et jamais "
        "gagné."
    ),
    "Share of bids lost by price whose winning bid would not have exceeded what the buyer said it was worth to him.": (
        "Part des offres perdues par le prix dont l'offre gagnante n'aurait pas dépassé la valeur que "
        "l'acheteur y voit."
    ),
    "Share whose winning bid would not have exceeded the buyer's valuation.": (
        "Part dont l'offre gagnante n'aurait pas dépassé la valeur que l'acheteur y voit."
    ),
    "Sum of the least bids that would have won: in second price it is about what they would have paid.": (
        "Somme des moindres offres qui auraient gagné : au second prix, à peu près ce qu'elles auraient payé."
    ),
    "Twice the bid would have won {share} of the bids lost by price.": (
        "Le double aurait gagné {share} des offres perdues par le prix."
    ),
    "What a raise would have won": "Ce qu'une hausse aurait gagné",
    "What it would have taken is the lowest bid that won there, or the floor where nothing was sold, with all others "
    "bidding as they did: of two bids lost in one auction only one could have won. Others would have answered, and "
    "where places or a quality weigh in, a bid counts for more or less than its price.": (
        "Ce qu'il aurait fallu est la moindre offre qui y a gagné, ou le plancher là où rien n'a été vendu, toutes les "
        "autres restant telles : de deux offres perdues dans une enchère une seule aurait pu gagner. D'autres auraient "
        "répondu, et là où comptent des places ou une qualité, une offre vaut plus ou moins que son prix."
    ),
    "What would it have taken?": "Qu'aurait-il fallu ?",
    "Why bids lost": "Pourquoi des offres ont perdu",
    "Why did bids lose?": "Pourquoi des offres ont-elles perdu ?",
    'Nobody can tell: this ledger keeps no bids, only wins (journal = "bids" keeps them).': (
        'Nul ne peut le dire : ce registre ne garde pas les offres, seulement les gains (journal = "bids" les garde).'
    ),
    "None did: all {n} won.": "Aucune : les {n} ont gagné.",
    "a tenth": "un dixième",
    "another bid was higher, or won the draw between equals": (
        "une autre offre était plus haute, ou a gagné le tirage entre égales"
    ),
    "the net bid is below the floor": "l'offre nette est sous le plancher",
    "bid that would have won": "offre qui aurait gagné",
    "bids lost": "offres perdues",
    "bids lost by price": "offres perdues par le prix",
    "by price": "par le prix",
    "lost": "perdues",
    "lost by price": "perdues par le prix",
    "meaning": "sens",
    "nine tenths": "neuf dixièmes",
    "own bid": "son offre",
    "paying at least": "en payant au moins",
    "people never reached": "gens jamais atteints",
    "raise": "hausse",
    "raise by": "hausse de",
    "raise: half": "hausse : moitié",
    "seat": "acheteur",
    "share lost": "part perdue",
    "too dear": "trop cher",
    "what it would have taken": "ce qu'il aurait fallu",
    "why": "pourquoi",
    "winning bid": "offre gagnante",
    "within the own valuation": "dans la valeur qu'on y voit",
    "worth it": "en vaut la peine",
    "would win": "gagneraient",
    "{lost} of {all} lost; the most frequent reason ({most}): {why}.": (
        "{lost} sur {all} ont perdu ; la raison la plus fréquente ({most}) : {why}."
    ),
    "Customers bid for and never reached: {n}.": "Clients pour qui une offre fut faite, jamais atteints : {n}.",
}
