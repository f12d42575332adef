"""The demo pack: two fictitious clinics, so that a newcomer has somebody to talk to and sees that they are apart.

`pack` says what there is, `receptionists` what they are told, `diary` fills the coming days, `seeding` writes rows,
`logins` holds the passwords that anyone may know. Names and numbers are invented: 555-01xx is kept for fiction.
"""
