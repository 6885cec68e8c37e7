"""French of the report `user_month`."""

from typing import Final

WORDS: Final[dict[str, str]] = {
    "User-months": "Mois-personnes",
    "how unevenly does the money fall on people?": "l'argent tombe-t-il inégalement sur les gens ?",
    "How unevenly does the money fall on people?": "L'argent tombe-t-il inégalement sur les gens ?",
    "Nothing was paid for known people.": "Rien n'a été payé pour des personnes connues.",
    "A person cost {mean} a month on average; half of them cost {median} or less.": (
        "Une personne a coûté {mean} par mois en moyenne ; la moitié a coûté {median} ou moins."
    ),
    "The dearest 1 % ({n} person-months) took {share} of the money.": (
        "Le 1 % le plus cher ({n} mois-personnes) a pris {share} de l'argent."
    ),
    "A user-month (person-month) is one known person in one calendar month (UTC) in which at least one paid ad reached "
    "him; it costs what all advertisers together paid, net of refunds.": (
        "Un mois-personne est une personne connue dans un mois civil (UTC) où au moins une publicité payée l'a "
        "touchée ; il coûte ce que tous les annonceurs ensemble ont payé, net des remboursements."
    ),
    "spend on known people": "dépense pour des personnes connues",
    "mean of a person-month": "moyenne d'un mois-personne",
    "Spend on known people over person-months. Net of refunds.": (
        "Dépense pour des personnes connues, par mois-personne. Net des remboursements."
    ),
    "middle person-month": "mois-personne médian",
    "Half of the person-months cost less. Net of refunds.": (
        "La moitié des mois-personnes coûte moins. Net des remboursements."
    ),
    "exceeded by one in ten": "dépassé par un sur dix",
    "90th percentile of person-months. Net of refunds.": "90e centile des mois-personnes. Net des remboursements.",
    "exceeded by one in a hundred": "dépassé par un sur cent",
    "99th percentile of person-months. Net of refunds.": "99e centile des mois-personnes. Net des remboursements.",
    "dearest person-month": "mois-personne le plus cher",
    "The most that was paid for one person in one month. Net of refunds.": (
        "Le plus qui a été payé pour une personne en un mois. Net des remboursements."
    ),
    "share of the dearest 1 %": "part du 1 % le plus cher",
    "Money of the dearest hundredth of the person-months (rounded up) over all of it. Net of refunds.": (
        "Argent du centième le plus cher des mois-personnes (arrondi au-dessus) sur le tout. Net des remboursements."
    ),
    "Gini coefficient": "coefficient de Gini",
    "0: every person-month costs the same; near 1: one takes all. Net of refunds.": (
        "0 : tous les mois-personnes coûtent autant ; près de 1 : un seul prend tout. Net des remboursements."
    ),
    "Who takes how much of the money": "Qui prend combien de l'argent",
    "cheapest person-months": "mois-personnes les moins chers",
    "their share of spend": "leur part de la dépense",
    "The cheapest {people} of the person-months took {money} of the money; on the diagonal all would cost the same.": (
        "Les {people} de mois-personnes les moins chers ont pris {money} de l'argent ; sur la diagonale tous "
        "coûteraient autant."
    ),
    "What person-months cost": "Ce que coûtent les mois-personnes",
    "cost at most": "coût au plus",
    "Each step is twice the one before.": "Chaque pas est le double du précédent.",
    "That cost more than the step before.": "Qui coûtent plus que le pas précédent.",
    "Different people among them.": "Personnes différentes parmi eux.",
    "What they cost together. Net of refunds.": "Ce qu'ils coûtent ensemble. Net des remboursements.",
    "Over spend on known people.": "Sur la dépense pour des personnes connues.",
    "Of the group.": "Du groupe.",
    "mean": "moyenne",
    "spend / person-months. Net of refunds.": "dépense / mois-personnes. Net des remboursements.",
    "median": "médiane",
    "90th percentile. Net of refunds.": "90e centile. Net des remboursements.",
    "Where they are at least ten person-months.": "S'ils sont au moins dix mois-personnes.",
}
