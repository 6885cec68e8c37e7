"""French of the reports `own_vs_rent` and `ad_load`, which need no ledger."""

from typing import Final

WORDS: Final[dict[str, str]] = {
    "Own or rent": "Posséder ou louer",
    "when does a contact that opted in pay for itself, against renting it?": (
        "quand un contact inscrit se paie-t-il, comparé à sa location ?"
    ),
    "A month is one in which the customer was rented at all; a ledger of less than a month has less rent in it than a "
    "month has.": (
        "Un mois est un mois où le client a été loué ; un registre de moins d'un mois contient moins de "
        "loyer qu'un mois."
    ),
    "Above this price an opt-in never pays for itself.": "Au-dessus de ce prix une inscription ne se paie jamais.",
    "Above this price an opt-in never pays for itself; a dash: there is no such limit.": (
        "Au-dessus de ce prix une inscription ne se paie jamais ; un tiret : il n'y a pas de limite."
    ),
    "An owned contact is reached as well as a rented one, everybody leaves the list with the same chance every month, "
    "and who has left is rented again. Prices stay as they are.": (
        "Un contact possédé est atteint aussi bien qu'un contact loué, chacun quitte la liste avec la même "
        "chance chaque "
        "mois, et qui l'a quittée est loué de nouveau. Les prix restent tels."
    ),
    "Contacts of a customer a month.": "Contacts d'un client par mois.",
    "For all customers: --customers, or those of the ledger.": (
        "Pour tous les clients : --customers, ou ceux du registre."
    ),
    "Is it worth owning?": "Vaut-il la peine de posséder ?",
    "Mean price of 1,000 contacts.": "Prix moyen de 1 000 contacts.",
    "Mean price of 1,000 paid ads whose person is known.": (
        "Prix moyen de 1 000 publicités payées dont la personne est connue."
    ),
    "Month by month": "Mois par mois",
    "Months after which the opt-in has paid for itself; a dash: never.": (
        "Mois après lesquels l'inscription s'est payée ; un tiret : jamais."
    ),
    "Months after which what was saved reaches what the opt-in cost; a dash: never.": (
        "Mois après lesquels l'économie atteint le coût de l'inscription ; un tiret : jamais."
    ),
    "No: renting a customer costs {rent} a month and owning one {owned}: nothing is saved.": (
        "Non : louer un client coûte {rent} par mois et en posséder un {owned} : rien n'est économisé."
    ),
    "No: an opt-in at {a} never pays for itself, {most} is the most it may cost: by then too many have left.": (
        "Non : une inscription à {a} ne se paie jamais, {most} est le plus qu'elle peut coûter : trop seront partis."
    ),
    "Up to {most} for an opt-in: above that renting at {rent} a month stays cheaper.": (
        "Jusqu'à {most} pour une inscription : au-dessus, louer à {rent} par mois reste moins cher."
    ),
    "At any price for an opt-in, some day: nobody ever leaves the list.": (
        "À tout prix d'inscription, un jour : personne ne quitte jamais la liste."
    ),
    "Yes, from the first month: the opt-in costs nothing and {rent} a month of rent is saved.": (
        "Oui, dès le premier mois : l'inscription ne coûte rien et {rent} de loyer par mois sont économisés."
    ),
    "Yes: an opt-in at {a} has paid for itself by the end of month {month} (after {months} months), for nobody ever "
    "leaves the list.": (
        "Oui : une inscription à {a} s'est payée à la fin du mois {month} (après {months} mois), car "
        "personne ne quitte "
        "jamais la liste."
    ),
    "Yes: an opt-in at {a} has paid for itself by the end of month {month} (after {months} months); it may cost up to "
    "{most}.": (
        "Oui : une inscription à {a} s'est payée à la fin du mois {month} (après {months} mois) ; elle peut coûter "
        "jusqu'à {most}."
    ),
    "For {n} that is {outlay} at once, and after a year {x} {more}.": (
        "Pour {n} cela fait {outlay} d'un coup, et après un an {x} {more}."
    ),
    "saved": "économisé",
    "missing": "manquant",
    "After {n} months a rented customer has cost {rented}, an owned one {owned}.": (
        "Après {n} mois un client loué a coûté {rented}, un client possédé {owned}."
    ),
    "Paid ads of an advertiser with a customer in a month.": "Publicités payées d'un annonceur à un client en un mois.",
    "Pairs of an advertiser and a person whom it rented.": "Paires d'un annonceur et d'une personne qu'il a louée.",
    "Rent of a customer a month. Net of refunds.": "Loyer d'un client par mois. Net des remboursements.",
    "Rented less owned: below 0 the opt-in has not paid yet.": (
        "Loué moins possédé : sous 0 l'inscription ne s'est pas encore payée."
    ),
    "Saved, of all customers.": "Économisé, pour tous les clients.",
    "Share of owned contacts that have not opted out a month later; --survival. 0.75^(1/12): a quarter of a list is "
    "lost in a year.": (
        "Part des contacts possédés encore inscrits un mois plus tard ; --survival. 0,75^(1/12) : un quart d'une liste "
        "se perd en un an."
    ),
    "Share that has not opted out.": "Part encore inscrite.",
    "The first whole month by whose end it has paid.": "Le premier mois entier à la fin duquel elle s'est payée.",
    "What a customer has cost": "Ce qu'a coûté un client",
    "What a customer has cost until then, rented.": "Ce qu'un client a coûté jusque-là, loué.",
    "What an opt-in costs once; --opt-in, or of a ledger what was spent per person who opted in.": (
        "Ce que coûte une inscription, une fois ; --opt-in, ou d'un registre la dépense par personne inscrite."
    ),
    "What an owned contact saves in 12 months, less its opt-in.": (
        "Ce qu'un contact possédé économise en 12 mois, moins son inscription."
    ),
    "What he has cost until then: opt-in, owned contact, rent once he opted out.": (
        "Ce qu'il a coûté jusque-là : inscription, contact possédé, loyer une fois désinscrit."
    ),
    "What it costs to keep and to write to a contact that opted in; --owned-cost.": (
        "Ce qu'il en coûte de garder un contact inscrit et de lui écrire ; --owned-cost."
    ),
    "What it costs to rent a customer for a month: contacts a month x CPM / 1000. Of a ledger: net of refunds, of "
    "months in which he was rented.": (
        "Ce que coûte la location d'un client pour un mois : contacts par mois x CPM / 1000. D'un registre : net des "
        "remboursements, des mois où il a été loué."
    ),
    "after month": "après le mois",
    "all customers": "tous les clients",
    "an opt-in": "une inscription",
    "break-even": "équilibre",
    "by the end of month": "à la fin du mois",
    "contacts a month": "contacts par mois",
    "cost until then": "coût jusque-là",
    "discount rate a year; 0.1 = 10 %": "taux d'actualisation par an ; 0.1 = 10 %",
    "how many customers; without a ledger": "combien de clients ; sans registre",
    "left after a month": "restent après un mois",
    "most that an opt-in may cost": "le plus que peut coûter une inscription",
    "opt-in up to": "inscription jusqu'à",
    "owned": "possédé",
    "owned contact a month": "contact possédé par mois",
    "pays after": "se paie après",
    "pays for itself after": "se paie après (mois)",
    "price of 1,000 contacts": "prix de 1 000 contacts",
    "price of 1,000 rented contacts": "prix de 1 000 contacts loués",
    "rent": "loyer",
    "rent of a customer a month": "loyer d'un client par mois",
    "rented": "loué",
    "rented contacts of a customer a month": "contacts loués d'un client par mois",
    "renting costs no more than owning: an owned contact saves nothing": (
        "louer ne coûte pas plus que posséder : un contact possédé n'économise rien"
    ),
    "the contact pays for itself": "le contact se paie",
    "the opt-in costs nothing: the contact pays from the first month": (
        "l'inscription ne coûte rien : le contact se paie dès le premier mois"
    ),
    "the opt-in costs as much as the contact will ever save, or more": (
        "l'inscription coûte autant que le contact économisera jamais, ou plus"
    ),
    "saved in a year": "économisé en un an",
    "share of owned contacts left after a month (default 0.75^(1/12))": (
        "part des contacts possédés qui restent après un mois (défaut 0.75^(1/12))"
    ),
    "still owned": "encore possédés",
    "the same, of all customers": "le même, tous les clients",
    "what an opt-in costs once": "ce que coûte une inscription, une fois",
    "what an owned contact costs a month": "ce que coûte un contact possédé par mois",
    "{n} opted in and {m} opted out in this ledger.": "{n} se sont inscrites et {m} désinscrites dans ce registre.",
    # ad_load
    "Ad load": "Charge publicitaire",
    "how many ads a visit bring the most impressions?": (
        "combien de publicités par visite donnent le plus d'affichages ?"
    ),
    "A visitor comes with probability e^(u - kappa a) / (1 + e^(u - kappa a)), u being what the visit is worth to him "
    "over staying away, a the ads, kappa how much he dislikes one.": (
        "Un visiteur vient avec la probabilité e^(u - kappa a) / (1 + e^(u - kappa a)), u étant ce que vaut "
        "pour lui la "
        "visite plutôt que de ne pas venir, a les publicités, kappa combien une lui déplaît."
    ),
    "Expected impressions of a would-be visitor.": "Affichages attendus d'un visiteur possible.",
    "How many ads?": "Combien de publicités ?",
    "Impressions by ad load": "Affichages selon la charge",
    "Impressions rise up to {load} ads a visit and fall beyond.": (
        "Les affichages montent jusqu'à {load} publicités par visite et baissent au-delà."
    ),
    "Load x dislike of one ad.": "Charge x déplaisir d'une publicité.",
    "Probability that a visitor comes at this load.": "Probabilité qu'un visiteur vienne à cette charge.",
    "The load that brings the most impressions.": "La charge qui donne le plus d'affichages.",
    "ads a visit": "publicités par visite",
    "best": "optimum",
    "impressions": "affichages",
    "of a visit without ads, over staying away": "d'une visite sans publicité, plutôt que de ne pas venir",
    "of one ad": "d'une publicité",
    "weariness of it": "lassitude",
    "who still comes": "qui vient encore",
    "{load} a visit: {comes} of the visitors still come, and each would-be visitor sees {seen}.": (
        "{load} par visite : {comes} des visiteurs viennent encore, et chaque visiteur possible en voit {seen}."
    ),
}
