"""What three common licences say, in words of our own: as fluent as they are, and written nowhere else."""

IN_OTHER_WORDS = {
    "MIT": (
        "Anybody who receives this program and the manuals that come with it may do with them whatever they like, and"
        " need not pay for it. They may run the program, make duplicates of it, change it, combine it with other"
        " programs, print it, pass it on, let others use it under terms of their own choice, and ask money for it. They"
        " may let those to whom they hand the program do all of this as well. One thing is asked in return. Whoever"
        " passes on the program, or a large piece of it, leaves the line that says who wrote it, and this page, where"
        " they are. Nobody promises that the program is good for anything. It comes as it was found, and no promise"
        " goes with it, neither one that was spoken nor one that the law would read into a sale: not that people can"
        " sell it, not that it suits what somebody has in mind, and not that it leaves the rights of third people"
        " untouched. If something goes wrong because of the program, or because of what somebody did with it, the"
        " people who wrote it and the people who own it do not have to answer for it, nor pay for any harm that was"
        " done, whether the case is brought under an agreement, as a wrong, or for another reason."
    ),
    "BSD": (
        "You may hand this program on and work with it, as text that people can read or as what a machine made of it,"
        " whether you changed it or not, if you keep to three rules. First, whoever hands on the readable text leaves"
        " in it the line with the owner and the year, these rules, and the paragraph below. Second, whoever hands on"
        " what a machine made of it prints the same line, the same rules and the same paragraph in the manual, or in"
        " whatever else goes along. Third, nobody may use the name of the owner, or of the people who helped, to make"
        " their own product look better, unless they asked first and were told yes on paper. The owner and the helpers"
        " give the program away as it stands. They promise nothing, neither that it can be sold nor that it does what"
        " you need. Whatever comes of it, they will not pay: not for direct harm, not for harm that followed from"
        " other harm, not for what had to be bought instead, not for lost time, lost files or lost income, and not for"
        " a firm that had to stop its work, however it happened and on whatever ground somebody sues, even if they had"
        " heard before that such harm was likely."
    ),
    "Apache": (
        "Each person who adds something to the work lets you do the following, for ever, in every country, for nothing,"
        " and without giving up the same for themselves or for others: you may make duplicates of the work, build new"
        " works on top of it, show it to the public, play it in front of people, let others have it, and hand it on in"
        " whatever shape you please. Each of them also lets you make the work, have it made, use it, offer it and sell"
        " it, as far as inventions of theirs that the law protects would otherwise stand in the way, but only where"
        " what they added would run into that protection, by itself or together with the work that they added it to."
        " Should you take anybody to court and say that the work, or something that was added to it, makes use of an"
        " invention of yours, then all that you were allowed under this paragraph ends on the day on which you go to"
        " court. You may pass the work on, changed or not, if those who get it also get this page, if every file that"
        " you changed says so in a place where it is seen, and if the lines about owners, inventions and names that"
        " were in the work are still in what you pass on, as far as they belong to it."
    ),
}
"""Licence -> a text of about as many words, with nothing copied."""
