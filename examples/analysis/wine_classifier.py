import warnings
warnings.filterwarnings("ignore")

import pandas as pd
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, classification_report, confusion_matrix
from sklearn.model_selection import train_test_split

wine = load_wine(as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(
    wine.data, wine.target, test_size=0.3, stratify=wine.target, random_state=1)

clf = RandomForestClassifier(n_estimators=100, n_jobs=-1, random_state=1)
clf.fit(X_train, y_train)
y_pred = clf.predict(X_test)

print(classification_report(y_test, y_pred, target_names=wine.target_names))
importance = pd.Series(clf.feature_importances_, index=wine.feature_names).sort_values(ascending=False)
importance.head(5).to_csv("importance.csv", header=["importance"], index_label="feature")
pd.DataFrame(confusion_matrix(y_test, y_pred), index=wine.target_names, columns=wine.target_names)
