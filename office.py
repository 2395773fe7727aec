# office.py
sent = []


def mail(customer):
    sent.append(customer)


def index(path):
    return path
